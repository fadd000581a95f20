"""REST as a client sees it: the real app, an engine that counts brightness."""

import base64
import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from models.errors import EngineError
from service.app import create_app
from service.settings import settings_of
from tests.fakes import FakeEngine, TestClient, bundle, encoded, solid, video
from tests.running import free_port, wait_until

CANARY = "c4n4ry"
PICTURE = encoded(solid(100, (48, 64)))  # FakeEngine counts 4.8; padding to 64 x 64 is cut off


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@contextlib.contextmanager
def api(folder: Path, engine: FakeEngine, **tree: Any) -> Iterator[TestClient]:
    settings = settings_of(tree, "test")
    with TestClient(create_app(settings, bundle=bundle(), engine=engine, data=folder)) as client:
        yield client
        engine.release()
    assert engine.closed


@pytest.fixture
def client(tmp_path: Path, engine: FakeEngine) -> Iterator[TestClient]:
    """One camera, `gate`, that gives two frames of 4.8 people and then falls silent."""
    file = video(tmp_path / "gate.mp4", [(0, 100), (0.1, 100), (600, 100)])
    gate = {
        "source": str(file),
        "rate": 30,
        "preview": "clear",
        "stale_after_s": 60,
        "zones": {"left": {"polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}},
    }
    server = {"max_picture_bytes": 100_000, "max_picture_pixels": 1_000_000, "waiting_pictures": 2}
    with api(tmp_path / "data", engine, server=server, cameras={"gate": gate}) as client:
        yield client


def read(client: TestClient, camera: str = "gate") -> dict[str, Any]:
    """The camera's second reading, after which nothing changes any more."""
    path = f"/v1/cameras/{camera}/latest"
    wait_until(
        lambda: client.get(path).json().get("seq", 0) >= 2, seconds=10, what="a second reading"
    )
    latest: dict[str, Any] = client.get(path).json()
    return latest


def problem(answer: Any, status: int, code: str) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    detail: str = body["detail"]
    return detail


def form(*files: bytes, **fields: str) -> dict[str, Any]:
    return {"files": [("picture", ("p", data)) for data in files], "data": fields}


def test_a_picture_counts_the_same_as_a_body_and_in_a_form(client: TestClient) -> None:
    answers = [
        client.post("/v1/count", content=PICTURE),
        client.post("/v1/count", content=PICTURE, headers={"content-type": "text/html"}),
        client.post("/v1/count", **form(PICTURE)),
        client.post("/v1/count", **form(PICTURE, note="hello")),
    ]
    bodies = [answer.json() for answer in answers]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [body["count"] for body in bodies] == [4.8] * 4
    assert set(bodies[0]) == {"count", "interval", "width", "height", "model", "timing_ms"}
    assert (bodies[0]["width"], bodies[0]["height"], bodies[0]["model"]) == (64, 48, "fake")
    low, high = bodies[0]["interval"]
    assert low < 4.8 < high
    assert set(bodies[0]["timing_ms"]) == {"receive", "decode", "count", "total"}


def test_a_form_of_megabytes_is_read_and_its_file_closed(
    tmp_path: Path, engine: FakeEngine
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    with api(tmp_path, engine) as client:
        answer = client.post("/v1/count", **form(encoded(noise)))
    assert len(encoded(noise)) > 1_100_000
    assert answer.status_code == 200


def test_a_heatmap_is_a_png_of_the_counted_size(tmp_path: Path, engine: FakeEngine) -> None:
    with api(tmp_path, engine, server={"max_picture_side": 128}) as client:
        answer = client.post("/v1/count?heatmap=png", content=encoded(solid(100, (128, 256))))
    heatmap = answer.json()["heatmap"]
    assert heatmap["mime"] == "image/png"
    picture = Image.open(io.BytesIO(base64.b64decode(heatmap["base64"])))
    assert (picture.format, picture.size) == ("PNG", (128, 64))


def test_a_density_map_adds_up_to_the_count(client: TestClient) -> None:
    body = client.post("/v1/count?density=npy", content=PICTURE).json()
    density = np.load(io.BytesIO(base64.b64decode(body["density"]["base64"])), allow_pickle=False)
    assert (density.dtype, density.shape) == (np.float32, (6, 8))
    assert density.sum() == pytest.approx(body["count"], abs=0.01)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "picture_empty"),
        (b"no picture", 415, "picture_type"),
        (encoded(solid(0, (8, 8)), "GIF"), 415, "picture_type"),
        (PICTURE[:60], 422, "picture_broken"),
        (encoded(solid(0, (1001, 1000))), 413, "picture_pixels"),
        (bytes(100_001), 413, "picture_bytes"),
    ],
)
def test_a_bad_picture_is_a_problem_both_ways_and_is_counted(
    client: TestClient, content: bytes, status: int, code: str
) -> None:
    problem(client.post("/v1/count", content=content), status, code)
    problem(client.post("/v1/count", **form(content)), status, code)
    assert f'throng_pictures_total{{code="{code}"}} 2.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"no boundary here"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1",
        ),
        ("multipart/form-data; boundary=b; charset=no", b"--b\r\nX\r\n\r\n--b--"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--",
        ),
        ("multipart/form-data; boundary=" + "b" * 5000, b"--" + b"b" * 5000),
    ],
)
def test_a_broken_form_is_a_problem(client: TestClient, kind: str, content: bytes) -> None:
    answer = client.post("/v1/count", content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert answer.json()["code"] in {"form_broken", "form_empty"}


def test_a_form_without_a_file_or_with_two_is_a_problem(client: TestClient) -> None:
    fields = {"a": (None, "text")}
    problem(client.post("/v1/count", files=fields), 400, "form_empty")
    problem(client.post("/v1/count", **form(PICTURE, PICTURE)), 400, "form_broken")


def test_a_body_in_chunks_is_bounded_too(client: TestClient) -> None:
    sent = []

    def chunks() -> Iterator[bytes]:
        for index in range(1000):
            sent.append(index)
            yield bytes(10_000)

    problem(client.post("/v1/count", content=chunks()), 413, "picture_bytes")


def test_an_unknown_option_is_a_problem(client: TestClient) -> None:
    answer = client.post("/v1/count?heatmap=gif", content=PICTURE)
    assert problem(answer, 422, "request_invalid").startswith("query.heatmap: ")


def test_where_too_many_pictures_wait_the_next_is_asked_to_come_again(tmp_path: Path) -> None:
    engine = FakeEngine(lanes=2)
    with api(tmp_path, engine, server={"waiting_pictures": 2}) as client:
        engine.hold()
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(client.post, "/v1/count", content=PICTURE) for _ in range(2)]
            try:
                wait_until(lambda: len(engine.shapes) == 2, seconds=10, what="both to be in work")
                answer = client.post("/v1/count", content=b"not even a picture")
            finally:
                engine.release()
            problem(answer, 503, "overloaded")
            assert int(answer.headers["retry-after"]) >= 1
            assert [one.result().status_code for one in waiting] == [200, 200]
        assert client.post("/v1/count", content=PICTURE).status_code == 200


def test_an_engine_that_fails_three_times_is_not_ready_until_it_works_again(
    client: TestClient, engine: FakeEngine
) -> None:
    read(client)
    assert client.get("/readyz").json() == {
        "ready": True,
        "reasons": [],
        "engine": "fake",
        "precision": "fp32",
        "load": 1.0,
        "history": "ok",
        "settings": "ok",
    }
    engine.error = EngineError("no")
    for _ in range(3):
        answer = client.post("/v1/count", content=PICTURE)
        problem(answer, 503, "engine_failed")
        assert "retry-after" in answer.headers
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["the engine failed 3 times in a row"]
    assert client.get("/healthz").status_code == 200
    engine.error = None
    assert client.post("/v1/count", content=PICTURE).status_code == 200
    assert client.get("/readyz").status_code == 200


def test_a_camera_that_is_down_at_the_start_is_connecting_and_the_service_ready(
    tmp_path: Path, engine: FakeEngine
) -> None:
    source = f"rtsp://user:{CANARY}@127.0.0.1:{free_port()}/live?token={CANARY}"
    with api(tmp_path, engine, cameras={"gate": {"source": source}}) as client:
        wait_until(
            lambda: bool(client.get("/v1/cameras/gate").json()["reason"]),
            seconds=15,
            what="the first try to fail",
        )
        assert client.get("/readyz").status_code == 200
        camera = client.get("/v1/cameras/gate").json()
        assert (camera["state"], camera["latest"]) == ("connecting", None)
        missing = client.get("/v1/cameras/gate/latest")
        assert "connecting" in problem(missing, 404, "reading_none")
        seen = [client.get(path).text for path in ("/v1/cameras", "/metrics", "/readyz", "/")]
        assert CANARY not in "".join([*seen, str(camera), missing.text])


def test_a_camera_is_described_with_its_last_reading(client: TestClient) -> None:
    latest = read(client)
    [camera] = client.get("/v1/cameras").json()["cameras"]
    assert camera == client.get("/v1/cameras/gate").json() | {"latest": camera["latest"]}
    assert (camera["id"], camera["state"], camera["rate"]) == ("gate", "live", 30)
    assert camera["zones"] == {"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
    assert set(latest) == {
        *("type", "schema", "camera", "seq", "captured_at", "age_ms", "count", "interval"),
        *("zones", "state", "stale", "fps", "valid"),
    }
    assert (latest["type"], latest["schema"], latest["stale"]) == ("reading", 1, False)
    assert latest["count"] == pytest.approx(4.8, rel=0.05)
    assert latest["zones"]["left"] == pytest.approx(2.4, rel=0.05)
    assert latest["interval"][0] < latest["count"] < latest["interval"][1]


@pytest.mark.parametrize(("kind", "format_"), [("png", "PNG"), ("jpg", "JPEG")])
def test_a_camera_has_a_heatmap(client: TestClient, kind: str, format_: str) -> None:
    read(client)
    answer = client.get(f"/v1/cameras/gate/heatmap.{kind}")
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == (format_, (64, 48))
    assert answer.headers["cache-control"] == "no-store"
    assert float(answer.headers["x-throng-age-ms"]) >= 0


def test_a_camera_has_a_density_map_that_adds_up_to_its_count(client: TestClient) -> None:
    latest = read(client)
    density = np.load(io.BytesIO(client.get("/v1/cameras/gate/density.npy").content))
    assert density.dtype == np.float32
    assert density.sum() == pytest.approx(latest["count"], abs=0.01)


def test_a_camera_has_a_history(client: TestClient) -> None:
    read(client)
    path = "/v1/cameras/gate/history"
    wait_until(
        lambda: len(client.get(path).json()["readings"]) == 2, seconds=10, what="two on disk"
    )
    body = client.get(path).json()
    assert (body["camera"], body["truncated"]) == ("gate", False)
    assert set(body["readings"][0]) == {"captured_at", "count", "interval", "zones"}
    one = client.get(f"{path}?limit=1").json()
    assert (one["readings"], one["truncated"]) == ([body["readings"][1]], True)
    assert client.get(f"{path}?to=2020-01-01T00:00:00").json()["readings"] == []
    since = body["readings"][1]["captured_at"]
    later = client.get(path, params={"from": since}).json()["readings"]
    assert later[-1:] == body["readings"][1:]


@pytest.mark.parametrize(
    "query",
    [
        "to=0001-01-01T00:00:00Z",
        "from=0001-01-01T00:00:00%2B14:00&to=9999-12-31T23:59:59-14:00",
        "from=9999-12-31T23:59:59&to=0001-01-01T00:00:00",
        "to=10000000000",
    ],
)
def test_any_span_of_time_is_answered(client: TestClient, query: str) -> None:
    assert client.get(f"/v1/cameras/gate/history?{query}").status_code == 200


@pytest.mark.parametrize("query", ["from=yesterday", "limit=0", "limit=1000000", "to=1e400"])
def test_a_span_that_makes_no_sense_is_a_problem(client: TestClient, query: str) -> None:
    problem(client.get(f"/v1/cameras/gate/history?{query}"), 422, "request_invalid")


def test_a_history_that_cannot_be_read_is_a_problem_and_counting_goes_on(
    client: TestClient, tmp_path: Path
) -> None:
    read(client)
    file = tmp_path / "data" / "history.sqlite"
    wait_until(
        lambda: "history_written_total 2" in client.get("/metrics").text, seconds=9, what="w"
    )
    for one in file.parent.iterdir():
        one.unlink()
    file.mkdir()
    problem(client.get("/v1/cameras/gate/history"), 503, "history_failed")
    assert client.post("/v1/count", content=PICTURE).status_code == 200


@pytest.mark.parametrize(
    "path", ["", "/latest", "/heatmap.png", "/heatmap.jpg", "/density.npy", "/history"]
)
def test_a_camera_nobody_knows_is_told_by_its_code(client: TestClient, path: str) -> None:
    problem(client.get(f"/v1/cameras/nobody{path}"), 404, "camera_unknown")


def test_a_camera_nobody_knows_cannot_be_deleted(client: TestClient) -> None:
    problem(client.delete("/v1/cameras/nobody"), 404, "camera_unknown")


@pytest.mark.parametrize("name", ["a b", "..%2Fetc", "%00", "x" * 65, "a%0A", "-", "%C3%A4"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_name_that_is_none_is_refused(client: TestClient, method: str, name: str) -> None:
    body = {"json": {"source": "demo"}} if method == "PUT" else {}
    assert client.request(method, f"/v1/cameras/{name}", **body).status_code in {404, 405, 422}
    assert [one["id"] for one in client.get("/v1/cameras").json()["cameras"]] == ["gate"]


def test_a_camera_can_be_put_replaced_and_deleted(client: TestClient) -> None:
    entry = {"source": "demo:1", "rate": 20, "size": [64, 48]}
    answer = client.put("/v1/cameras/plaza", json=entry)
    assert (answer.status_code, answer.json()["state"]) == (201, "connecting")
    assert read(client, "plaza")["truth"] > 0
    assert client.put("/v1/cameras/plaza", json=entry | {"rate": 10}).status_code == 200
    assert client.get("/v1/cameras/plaza").json()["rate"] == 10
    assert 'camera="plaza"' in client.get("/metrics").text
    answer = client.delete("/v1/cameras/plaza")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(client.get("/v1/cameras/plaza"), 404, "camera_unknown")
    assert 'camera="plaza"' not in client.get("/metrics").text


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "cameras.new.source: "),
        ({"source": "demo", "rat": 1}, "cameras.new.rat: unknown key"),
        ({"source": "demo", "rate": 0}, "cameras.new.rate: "),
        ({"source": "demo", "size": [100_000, 100_000]}, "cameras.new.size.0: "),
        ({"source": ["demo"]}, "cameras.new.source: "),
    ],
)
def test_a_bad_entry_is_a_problem_that_names_the_key(
    client: TestClient, entry: dict[str, Any], says: str
) -> None:
    detail = problem(client.put("/v1/cameras/new", json=entry), 422, "settings_invalid")
    assert detail.startswith(f"body: {says}")


@pytest.mark.parametrize("body", ["", "no json", "[1]", "[" * 50_000, '"text"', "null"])
def test_a_body_that_is_no_entry_is_a_problem(client: TestClient, body: str) -> None:
    answer = client.put("/v1/cameras/new", content=body)
    assert answer.status_code in {400, 422}
    assert answer.json()["code"] in {"request_invalid", "http_400"}


def test_variables_are_not_filled_in_for_strangers(client: TestClient) -> None:
    answer = client.put("/v1/cameras/new", json={"source": "${HOME}"})
    assert "/root" not in answer.text
    problem(answer, 422, "settings_invalid")


@pytest.fixture
def canary() -> Iterator[tuple[int, list[str]]]:
    """A port that notes who connects."""
    callers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    callers.append("somebody")
                    connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        port: int = server.getsockname()[1]
        yield port, callers
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


HOSTILE = """
    file:///etc/passwd|/etc/passwd|etc/passwd|../../etc/passwd|~/x|/dev/video0|/dev/stdin|pipe:0|fd:0
    file:/etc/passwd|FILE:///etc/passwd|concat:/etc/passwd%7C/etc/passwd|concatf:/x|async:/etc/passwd
    subfile,,start,0,end,99,,:/etc/passwd|crypto:/etc/passwd|cache:/etc/passwd|data:video/mp4;base64,AA
    http://HERE/|https://HERE/|HTTP://HERE/|httpproxy://HERE/|tcp://HERE|udp://HERE|tls://HERE
    rtmp://HERE/x|rtp://HERE|srt://HERE|ftp://HERE/x|gopher://HERE/x|sftp://HERE/x|unix:/tmp/x|mmsh://HERE
    lavfi:testsrc|testsrc|ipfs://x|hls+http://HERE/a.m3u8|hls+file:///x|icecast://HERE|sctp://HERE
    rtsp+http://HERE/|demos|DEMO|Demo:1|srtp://HERE|amqp://HERE|zmq:tcp://HERE|v4l2:///dev/video0
"""


def hostile(port: int) -> list[str]:
    listed = [one for line in HOSTILE.split() for one in line.split("|")]
    odd = ["", " ", "\x00", " rtsp://HERE/", "\trtsp://HERE/", "rt\nsp://HERE/", "rtsp\n://HERE/",
           "rtsp//HERE/", "//HERE/", "rtsp", "{}", "http://[", "rtsp：//HERE/"]  # fmt: skip
    return [one.replace("HERE", f"127.0.0.1:{port}").replace("%7C", "|") for one in listed + odd]


def test_no_hostile_address_is_taken_and_nobody_is_called(
    client: TestClient, canary: tuple[int, list[str]]
) -> None:
    port, callers = canary
    addresses = hostile(port)
    assert len(addresses) > 60
    for address in addresses:
        answer = client.put("/v1/cameras/evil", json={"source": address})
        assert "only rtsp://" in problem(answer, 422, "settings_invalid"), address
        assert str(port) not in answer.text
    assert [one["id"] for one in client.get("/v1/cameras").json()["cameras"]] == ["gate"]
    assert callers == []


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://[",
        "rtsp://h:99999/",
        "rtsp://:x@/",
        "rtsp:",
        "rtsp:/etc/passwd",
        "rtsp://h\x00/",
        "rtsp://é",
    ],
)
def test_an_odd_rtsp_address_never_breaks_the_service(client: TestClient, source: str) -> None:
    answer = client.put("/v1/cameras/odd", json={"source": source})
    assert answer.status_code in {201, 422}
    assert client.get("/v1/cameras").status_code == 200
    client.delete("/v1/cameras/odd")


def test_cameras_beyond_the_limit_are_refused(tmp_path: Path, engine: FakeEngine) -> None:
    with api(tmp_path, engine, server={"max_cameras": 1}) as client:
        entry = {"source": "demo", "size": [64, 48]}
        assert client.put("/v1/cameras/a", json=entry).status_code == 201
        assert client.put("/v1/cameras/a", json=entry).status_code == 200
        answer = client.put("/v1/cameras/b", json=entry)
        assert "max_cameras" in problem(answer, 503, "overloaded")
        assert "retry-after" in answer.headers


def test_passwords_are_never_shown(tmp_path: Path, engine: FakeEngine) -> None:
    source = f"rtsp://user:{CANARY}@127.0.0.1:{free_port()}/a?password={CANARY}"
    with api(tmp_path, engine, cameras={"gate": {"source": source}}) as client:
        said = [
            client.put("/v1/cameras/hall", json={"source": source}),
            client.put("/v1/cameras/hall", json={"source": source, "rate": CANARY}),
            client.put("/v1/cameras/hall", json={"source": source, "zones": source}),
            client.put("/v1/cameras/hall", json={"source": f"http://u:{CANARY}@h/"}),
            *map(client.get, ["/v1/cameras", "/v1/cameras/hall", "/v1/cameras/hall/latest"]),
            *map(client.get, ["/metrics", "/readyz", "/openapi.json"]),
        ]
    assert [one.status_code for one in said[:4]] == [201, 422, 422, 422]
    assert CANARY not in "".join(one.text for one in said)


def test_frames_are_conserved_in_the_metrics(client: TestClient) -> None:
    read(client)
    values = dict(
        line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#"
    )
    ended = sum(
        float(value)
        for name, value in values.items()
        if name.startswith(
            (
                "throng_frames_counted_total",
                "throng_frames_dropped_total",
                "throng_frames_failed_total",
            )
        )
    )
    assert float(values['throng_frames_total{camera="gate"}']) == ended == 2


def test_a_stale_reading_says_so_and_is_no_metric_any_more(
    tmp_path: Path, engine: FakeEngine
) -> None:
    file = video(tmp_path / "gate.mp4", [(0, 100), (0.05, 100), (600, 100)])
    gate = {"source": str(file), "rate": 30, "stale_after_s": 0.3}
    with api(tmp_path, engine, cameras={"gate": gate}) as client:
        wait_until(
            lambda: client.get("/v1/cameras/gate").json()["state"] == "stalled",
            seconds=10,
            what="the camera to stall",
        )
        latest = client.get("/v1/cameras/gate/latest").json()
        assert (latest["stale"], latest["state"]) == (True, "stalled")
        assert latest["age_ms"] > 300
        assert "throng_people{" not in client.get("/metrics").text


def test_the_page_comes_from_here_and_from_nowhere_else(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/page/" + quote("../settings.py", safe="")).status_code == 404


def test_an_engine_is_closed_and_the_cameras_end_with_the_service(
    tmp_path: Path, engine: FakeEngine
) -> None:
    began_s = time.monotonic()
    with api(tmp_path, engine, cameras={"plaza": {"source": "demo", "size": [64, 48]}}) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
    assert engine.closed
    assert time.monotonic() - began_s < 10
    wait_until(
        lambda: "camera plaza" not in [one.name for one in threading.enumerate()],
        seconds=5,
        what="the camera's thread to end",
    )
