import base64
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import SpooledTemporaryFile

import numpy as np
import pytest
from PIL import Image as Picture

from service.pictures import decode
from service.pieces import Image
from tests.fakes import FakeEngine, TestClient, encoded, solid
from tests.running import wait_until
from tests.service.api.asking import PICTURE, api, form, problem


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
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures never reach a disk: not even that of temporary files."""
    monkeypatch.setattr(SpooledTemporaryFile, "rollover", pytest.fail)
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    with api(tmp_path, engine) as client:
        answer = client.post("/v1/count", **form(encoded(noise)))
    assert len(encoded(noise)) > 1_100_000
    assert answer.status_code == 200


def test_a_form_is_one_however_its_type_is_written(client: TestClient) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="p"; filename="p"\r\n\r\n'
    body += encoded(solid(100, (48, 64))) + b"\r\n--x--\r\n"
    kind = {"Content-Type": "Multipart/Form-Data; boundary=x"}
    assert client.post("/v1/count", content=body, headers=kind).status_code == 200


def test_a_heatmap_is_a_png_of_the_counted_size(tmp_path: Path, engine: FakeEngine) -> None:
    with api(tmp_path, engine, server={"max_picture_side": 128}) as client:
        answer = client.post("/v1/count?heatmap=png", content=encoded(solid(100, (128, 256))))
    heatmap = answer.json()["heatmap"]
    assert heatmap["mime"] == "image/png"
    picture = Picture.open(io.BytesIO(base64.b64decode(heatmap["base64"])))
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
    said = problem(client.post("/v1/count", **form(PICTURE, PICTURE)), 400, "form_broken")
    assert said == "the form holds several files: send one"


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


class Gate:
    """A `decode` that is held until it is let go, and notes how many are in it at once."""

    def __init__(self) -> None:
        self.inside = self.most_inside = 0
        self.let_go = threading.Event()

    def decode(self, data: bytes, *, max_pixels: int) -> Image:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.let_go.wait(30)
        self.inside -= 1
        return decode(data, max_pixels=max_pixels)


def test_pictures_that_come_together_are_decoded_one_by_one(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr("service.routes.counts.decode", gate.decode)

    def refused() -> bool:
        return bool(client.post("/v1/count", content=b"").status_code == 503)

    with ThreadPoolExecutor(2) as pool:
        posted = [pool.submit(client.post, "/v1/count", content=PICTURE) for _ in range(2)]
        try:
            wait_until(lambda: gate.inside > 0 and refused(), seconds=10, what="both to be in work")
        finally:
            gate.let_go.set()
        assert [one.result().status_code for one in posted] == [200, 200]
    assert gate.most_inside == 1


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
