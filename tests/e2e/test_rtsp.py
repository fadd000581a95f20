"""A real RTSP camera of a real street, from its socket to our clients: counts, faults, secrets."""

import json
import signal
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from websockets.sync.client import connect

from models.scene import Plaza
from tests.faults.camera import camera
from tests.running import Running, free_port, serving, wait_until

pytestmark = pytest.mark.slow

PICTURE = "shb_train_134"  # a street whose crowd thins out to the right
WINDOW = (768, 576)
FPS = 10
Reading = dict[str, Any]
PASSWORD = "hunter-2-canary"
RATE = 3
SIZED = {"size": list(WINDOW), "rate": RATE, "read_timeout_s": 1.0}


@dataclass(frozen=True)
class Clip:
    path: Path
    truth: list[int]  # people in each picture


@pytest.fixture(scope="module")
def street(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A window that pans over the picture, right and back, in twelve seconds."""
    image_HW3 = cv2.imread(str(data / "val" / "images" / f"{PICTURE}.jpg"))
    assert image_HW3 is not None
    with np.load(data / "val" / "points.npz") as points:
        heads_P2 = points[PICTURE]
    width, height = WINDOW
    there = np.linspace(0, image_HW3.shape[1] - width, 6 * FPS).astype(int)
    windows, truth = [], []
    for x in [*there, *there[::-1]]:
        windows.append(np.array(image_HW3[:height, x : x + width, ::-1], np.uint8))
        inside_P = (heads_P2 >= (x, 0)) & (heads_P2 < (x + width, height))
        truth.append(int(inside_P.all(axis=1).sum()))
    return Clip(encoded(tmp_path_factory.mktemp("street") / "clip.mp4", windows), truth)


@pytest.fixture(scope="module")
def plaza(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two seconds of the drawn plaza: enough where only coming and going matters."""
    scene = Plaza(seed=2, size_hw=(288, 512), people=40)
    drawn = [scene.at(number / FPS) for number in range(2 * FPS)]
    path = encoded(tmp_path_factory.mktemp("plaza") / "clip.mp4", [one.image_HW3 for one in drawn])
    return Clip(path, [one.count for one in drawn])


def encoded(path: Path, images: Sequence[NDArray[np.uint8]]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20", "g": "10"}
        for image_HW3 in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image_HW3, format="rgb24")))
        container.mux(stream.encode())
    return path


def settings(folder: Path, cameras: dict[str, Any]) -> str:
    path = folder / "throng.yaml"
    path.write_text(yaml.safe_dump({"defaults": SIZED, "cameras": cameras}))
    return str(path)


def address(port: int, login: str = "") -> str:
    return f"rtsp://{login}127.0.0.1:{port}/camera"


def state(running: Running, name: str) -> str:
    said: str = json.loads(running.get(f"/v1/cameras/{name}"))["state"]
    return said


def wait_for_state(running: Running, name: str, *states: str, seconds: float) -> None:
    def holds() -> bool:
        return state(running, name) in states

    wait_until(holds, seconds=seconds, what=f"{name} to be {' or '.join(states)}")


def shown(running: Running, name: str) -> bool:
    """Whether the metrics hold a count of this camera."""
    return f'throng_people{{camera="{name}"}}' in running.get("/metrics").decode()


def listen(running: Running, *, wanted: int) -> list[Reading]:
    """The next so many readings that a websocket client gets."""
    readings: list[Reading] = []
    with connect(f"ws{running.url.removeprefix('http')}/v1/live", open_timeout=5) as live:
        while len(readings) < wanted:
            message = live.recv(timeout=10)
            if isinstance(message, str) and (said := json.loads(message))["type"] == "reading":
                readings.append(said)
    return readings


def spread(values: list[float] | list[int]) -> float:
    """From the second-lowest tenth to the second-highest."""
    tenths = statistics.quantiles(values, n=10)
    return tenths[-1] - tenths[0]


@pytest.mark.data
def test_counts_follow_the_truth_and_no_password_is_ever_shown(
    street: Clip, tmp_path: Path
) -> None:
    port = free_port()
    cameras = {
        "street": {"source": address(port, f"viewer:{PASSWORD}@")},
        "locked": {"source": address(port, f"viewer:not-{PASSWORD}@")},
    }
    with (
        camera(street.path, port=port, fps=FPS, more=("--user=viewer", f"--password={PASSWORD}")),
        serving(tmp_path, "--config", settings(tmp_path, cameras)) as running,
    ):
        wait_for_state(running, "street", "live", seconds=15)
        pan = listen(running, wanted=12 * RATE + 3)[3:]

        assert {(one["camera"], one["state"], one["stale"]) for one in pan} == {
            ("street", "live", False)
        }
        assert max(one["age_ms"] for one in pan) < 2000
        assert all(before["seq"] < after["seq"] for before, after in pairwise(pan))
        follows_the_truth(pan, street.truth)

        wait_for_state(running, "locked", "auth_failed", seconds=15)
        assert not shown(running, "locked")
        pages = ("/v1/cameras", "/v1/cameras/locked", "/metrics", "/readyz", "/openapi.json")
        assert [page for page in pages if PASSWORD in running.get(page).decode()] == []
    assert PASSWORD not in running.log.read_text()


def follows_the_truth(readings: list[Reading], truth: list[int]) -> None:
    """Within the model's own interval, and moving as the pan does."""
    counts = [one["count"] for one in readings]
    below = statistics.median(one["interval"][0] / one["count"] for one in readings)
    above = statistics.median(one["interval"][1] / one["count"] for one in readings)
    assert min(truth) * below <= statistics.median(counts) <= max(truth) * above
    assert 0.5 * spread(truth) <= spread(counts) <= 2 * spread(truth)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_camera_that_is_gone_shows_no_count_and_comes_back(
    plaza: Clip, tmp_path: Path, fault: signal.Signals
) -> None:
    port = free_port()
    config = settings(tmp_path, {"street": {"source": address(port)}})
    with serving(tmp_path, "--config", config) as running:
        with camera(plaza.path, port=port, fps=FPS) as server:
            wait_for_state(running, "street", "live", seconds=20)
            wait_until(lambda: shown(running, "street"), seconds=5, what="a count")
            server.process.send_signal(fault)
            wait_for_state(running, "street", "stalled", "down", seconds=15)
            wait_until(lambda: not shown(running, "street"), seconds=2, what="no count")
            latest = json.loads(running.get("/v1/cameras/street/latest"))
            assert latest["stale"]
            assert latest["state"] != "live"
        with camera(plaza.path, port=port, fps=FPS):
            wait_for_state(running, "street", "live", seconds=35)
            wait_until(lambda: shown(running, "street"), seconds=5, what="a count again")
            (fresh,) = listen(running, wanted=1)
            assert fresh["seq"] > latest["seq"]


def test_a_camera_that_is_down_at_the_start_does_not_keep_the_service_from_working(
    plaza: Clip, tmp_path: Path
) -> None:
    port = free_port()
    config = settings(tmp_path, {"late": {"source": address(port)}})
    with serving(tmp_path, "--config", config) as running:
        assert state(running, "late") == "connecting"
        assert json.loads(running.get("/readyz"))["ready"]
        with camera(plaza.path, port=port, fps=FPS):
            wait_for_state(running, "late", "live", seconds=30)
