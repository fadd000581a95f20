"""A picture of now: what of it is shown, and how often its stream is opened."""

import contextlib
import io
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.fakes import FakeEngine, TestClient, video
from tests.running import free_port
from tests.service.api.asking import CANARY, FRAMES, api, problem, read

VIEW = "/v1/cameras/gate/view.jpg"


@contextlib.contextmanager
def gate(folder: Path, engine: FakeEngine, **entry: Any) -> Iterator[TestClient]:
    """A camera that has counted, with a `view` stream of twice its size."""
    source = video(folder / "gate.mp4", FRAMES)
    view = video(folder / "view.mp4", [(0, 100)], size_hw=(96, 128))
    camera = {"source": str(source), "view": str(view), "rate": 30, "stale_after_s": 60, **entry}
    with api(folder / "data", engine, cameras={"gate": camera}) as client:
        read(client)
        yield client


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """A camera that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def rtsp(camera: socket.socket) -> str:
    return f"rtsp://127.0.0.1:{camera.getsockname()[1]}/view"


def opened(camera: socket.socket) -> int:
    """How many connected to it."""
    with contextlib.suppress(BlockingIOError):
        connection, _ = camera.accept()
        connection.close()
        return 1 + opened(camera)
    return 0


def contrast(client: TestClient) -> float:
    answer = client.get(VIEW)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers["cache-control"] == "no-store"
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (128, 96)
    return float(np.asarray(picture, dtype=float).std())


def test_a_clear_view_shows_the_picture_of_the_view_stream(
    tmp_path: Path, engine: FakeEngine
) -> None:
    with gate(tmp_path, engine, preview="clear") as client:
        assert contrast(client) > 30


def test_a_blurred_view_shows_nothing_as_small_as_a_person(
    tmp_path: Path, engine: FakeEngine
) -> None:
    with gate(tmp_path, engine, preview="blur") as client:
        assert contrast(client) < 5


def test_a_camera_without_pictures_has_no_view_and_is_not_opened_for_one(
    tmp_path: Path, engine: FakeEngine, mute: socket.socket
) -> None:
    with gate(tmp_path, engine, preview="none", view=rtsp(mute)) as client:
        problem(client.get(VIEW), 404, "preview_none")
    assert opened(mute) == 0


def test_a_camera_that_does_not_run_has_no_view(tmp_path: Path, engine: FakeEngine) -> None:
    camera = {"source": f"rtsp://u:{CANARY}@127.0.0.1:{free_port()}/x"}
    with api(tmp_path, engine, cameras={"gate": camera}) as client:
        assert "it is connecting" in problem(client.get(VIEW), 404, "view_none")


def test_who_asks_while_a_view_is_taken_is_told_to_try_again(
    tmp_path: Path, engine: FakeEngine, mute: socket.socket
) -> None:
    with (
        gate(tmp_path, engine, view=rtsp(mute), open_timeout_s=0.5) as client,
        ThreadPoolExecutor(6) as askers,
    ):
        answers = list(askers.map(lambda _: client.get(VIEW), range(6)))
    refused = [answer for answer in answers if answer.status_code == 503]
    [first] = [answer for answer in answers if answer not in refused]
    assert "no answer within 0.5 s" in problem(first, 404, "view_none")
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert opened(mute) == 1
