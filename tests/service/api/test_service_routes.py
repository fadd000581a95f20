import re
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from models.errors import EngineError
from tests.fakes import FakeEngine, TestClient
from tests.running import ROOT, free_port, wait_until
from tests.service.api.asking import CANARY, PICTURE, api, problem, read


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


def test_an_engine_that_is_over_is_not_ready_at_once_and_says_why(
    client: TestClient, engine: FakeEngine
) -> None:
    engine.over = "GPU 0 is lost: restart the process"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["the engine is over: GPU 0 is lost: restart the process"]


def test_a_batcher_that_broke_is_not_ready_and_says_so(tmp_path: Path, engine: FakeEngine) -> None:
    engine.batch = None  # type: ignore[assignment]  # so that the batcher raises at its first frame
    with api(tmp_path, engine, cameras={"plaza": {"source": "demo", "size": [64, 48]}}) as client:
        wait_until(
            lambda: client.get("/readyz").status_code == 503, seconds=10, what="not to be ready"
        )
        assert client.get("/readyz").json()["reasons"] == ["the batcher ended (TypeError): restart"]


def test_a_watch_that_broke_is_not_ready_and_says_so(client: TestClient) -> None:
    read(client)
    client.app.state.parts.hub.states.clear()  # type: ignore[attr-defined]  # a bug
    wait_until(lambda: client.get("/readyz").status_code == 503, seconds=10, what="it to be seen")
    reasons = client.get("/readyz").json()["reasons"]
    assert "the watch over cameras ended (KeyError): restart" in reasons


def test_the_metrics_say_what_the_service_itself_takes(client: TestClient) -> None:
    lines = client.get("/metrics").text.splitlines()
    values = dict(line.split(" ") for line in lines if line.startswith("process_"))
    assert float(values["process_resident_memory_bytes"]) > 1e7
    assert float(values["process_open_fds"]) > 3


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


PAGE = sorted(f"/page/{one.name}" for one in (ROOT / "service" / "page").iterdir())


@pytest.mark.parametrize("path", ["/", "/docs", *PAGE])
def test_the_page_comes_from_here_and_is_asked_for_again_after_an_upgrade(
    client: TestClient, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["../settings.py", "", "none.js", "%00", "a" * 300])
def test_what_is_no_file_of_the_page_is_a_problem(client: TestClient, path: str) -> None:
    problem(client.get("/page/" + quote(path, safe="%")), 404, "http_404")


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/readyz", "/metrics", "/page/live.js"])
def test_who_asks_for_the_head_alone_gets_it(client: TestClient, path: str) -> None:
    answer = client.head(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == client.get(path).headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", "/v1/cameras/gate", "GET, PUT, DELETE"),
        ("GET", "/v1/count", "POST"),
        ("DELETE", "/page/live.js", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)
    problem(answer, 405, "http_405")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_names_nothing_of_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    asked = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert asked
    assert not [one for one in asked if "//" in one or one.startswith("/")]


def test_no_page_of_the_framework_is_served(client: TestClient) -> None:
    problem(client.get("/redoc"), 404, "http_404")


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
