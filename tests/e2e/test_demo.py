"""The service as a newcomer starts it: the demo's counts, a posted picture, history, the end."""

import json
import signal
import statistics
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from models.scene import Plaza
from tests.running import Running, serving, wait_until

pytestmark = pytest.mark.slow


def live_address(running: Running) -> str:
    return f"ws{running.url.removeprefix('http')}/v1/live"


def next_reading(live: ClientConnection) -> dict[str, Any]:
    while True:
        said: dict[str, Any] = json.loads(live.recv(timeout=10, decode=True))
        if said["type"] == "reading":
            return said


def read_to_the_end(live: ClientConnection) -> None:
    while True:
        live.recv(timeout=10)


def test_the_demo_counts_what_is_there(service: Running) -> None:
    with connect(live_address(service), open_timeout=5) as live:
        readings = [next_reading(live) for _ in range(20)]
    true = statistics.mean(one["truth"] for one in readings)
    assert statistics.mean(one["count"] for one in readings) == pytest.approx(true, rel=0.2)
    assert {one["state"] for one in readings} == {"live"}


def test_a_posted_picture_is_answered_with_its_count(service: Running) -> None:
    plaza = Plaza(seed=3, size_hw=(432, 768), people=60).at(5.0)
    fine, jpeg = cv2.imencode(".jpg", cv2.cvtColor(plaza.image_HW3, cv2.COLOR_RGB2BGR))
    assert fine
    answer = httpx.post(f"{service.url}/v1/count", content=jpeg.tobytes(), timeout=30)
    assert answer.status_code == httpx.codes.OK, answer.text
    said = answer.json()
    assert (said["width"], said["height"]) == (768, 432)
    assert said["interval"][0] - 0.1 <= said["count"] <= said["interval"][1] + 0.1
    assert said["count"] == pytest.approx(plaza.count, rel=0.4)


def test_metrics_and_history_hold_what_was_counted(service: Running) -> None:
    def readings() -> list[dict[str, Any]]:
        history = json.loads(service.get("/v1/cameras/demo/history"))
        return list(history["readings"])

    wait_until(lambda: len(readings()) >= 3, seconds=20, what="the history of the demo")
    assert all(one["count"] > 0 for one in readings())
    metrics = service.get("/metrics").decode().splitlines()
    (people,) = [line for line in metrics if line.startswith('throng_people{camera="demo"}')]
    assert float(people.split()[-1]) > 0


@pytest.mark.parametrize("wish", [signal.SIGTERM, signal.SIGINT], ids=lambda wish: wish.name)
def test_websockets_are_told_of_the_end_and_it_comes_soon(
    tmp_path: Path, wish: signal.Signals
) -> None:
    with serving(tmp_path) as running, connect(live_address(running), open_timeout=5) as live:
        next_reading(live)
        running.process.send_signal(wish)
        with pytest.raises(ConnectionClosed) as closed:
            read_to_the_end(live)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert running.process.wait(timeout=15) == 0
    assert "Traceback" not in running.log.read_text()
