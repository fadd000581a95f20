"""Cameras coming, falling silent, going: real reader processes that play small video files."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from models.errors import Overloaded, SourceError
from service import cameras as module
from service.batching import Batcher
from service.cameras import Cameras
from service.counting import CameraLine, Wiring
from service.history import History
from service.hub import Hub
from service.metrics import Metrics
from service.reader.readers import Readers
from service.readings import State
from service.settings import Batching, Camera
from service.settings import History as Keep
from tests.fakes import FakeEngine, bundle, frame, video
from tests.faults.processes import children

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def watched(folder: Path, *, most: int = 3) -> AsyncIterator[tuple[Cameras, Hub]]:
    metrics, engine = Metrics(CollectorRegistry()), FakeEngine()
    hub, batcher = Hub(metrics), Batcher(engine, Batching(), metrics)
    wiring = Wiring(bundle(), batcher, hub, History(folder / "h.sqlite", Keep(), metrics))

    def line(name: str, camera: Camera) -> CameraLine:
        return CameraLine(name, camera, wiring)

    readers = Readers(metrics, each=8)
    cameras = Cameras(hub, batcher, readers, line=line, most=most, max_age_s=2.0)
    tasks = [asyncio.create_task(batcher.run()), asyncio.create_task(cameras.watch())]
    try:
        yield cameras, hub
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await cameras.close()
        await batcher.drain()
        engine.close()


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110  # engines answer from threads
            await anyio.sleep(0.005)


def people(hub: Hub) -> bool:
    """Whether the metrics show a count."""
    [series] = hub._metrics.people.collect()
    return bool(series.samples)


def silent(folder: Path, *, name: str = "silent.mp4", grey: int = 100) -> Camera:
    """A camera that gives two frames and then nothing for a minute. Its view is the same file."""
    file = SecretStr(str(video(folder / name, [(0, grey), (0.1, grey), (60, grey)])))
    return Camera(source=file, view=file, rate=30, stale_after_s=0.3)


async def test_a_camera_that_falls_silent_is_stalled_and_its_last_reading_stale(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", silent(tmp_path))
        assert hub.states["gate"][0] == "connecting"
        await until(lambda: "gate" in hub.seen)
        await until(lambda: hub.states["gate"][0] == "stalled")
        assert hub.seen["gate"].reading.message()["stale"] is True
        assert hub.seen["gate"].reading.state == "stalled"


async def test_a_stalled_camera_is_live_again_with_its_next_frame(tmp_path: Path) -> None:
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", silent(tmp_path))
        await until(lambda: hub.states["gate"][0] == "stalled")
        cameras.frame("gate", frame())
        await until(lambda: hub.states["gate"][0] == "live")


async def test_a_removed_camera_is_unknown_at_once_and_its_late_frames_go_nowhere(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", Camera(source=SecretStr("demo"), rate=30, size=(128, 64)))
        cameras.add("other", Camera(source=SecretStr("demo"), rate=30, size=(128, 64)))
        await until(lambda: {"gate", "other"} <= hub.seen.keys())
        cameras.remove("gate")
        seq = hub.seen["other"].reading.seq
        await until(lambda: hub.seen["other"].reading.seq > seq + 5)
        assert "gate" not in cameras
        assert "gate" not in hub.seen
        assert "gate" not in hub.states


async def test_a_glance_at_another_stream_disturbs_nothing(tmp_path: Path) -> None:
    view = video(tmp_path / "view.mp4", [(0, 90), (0.1, 90)], size_hw=(96, 128))
    camera = silent(tmp_path).model_copy(update={"view": SecretStr(str(view))})
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", camera)
        await until(lambda: "gate" in hub.seen)
        frame = await cameras.view("gate")
        assert frame.image_HW3.shape[:2] == (96, 128)
        assert hub.seen["gate"].image_HW3.shape[:2] == (48, 64)


async def test_a_view_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    camera = silent(tmp_path).model_copy(update={"view": SecretStr("/nowhere/c4n4ry.mp4")})
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", camera)
        await until(lambda: hub.states["gate"][0] == "live")
        with pytest.raises(SourceError, match="there is no such file"):
            await cameras.view("gate")


@pytest.mark.parametrize("state", ["connecting", "stalled", "down", "auth_failed", "quarantined"])
async def test_a_camera_that_does_not_run_is_not_opened_for_a_view(
    tmp_path: Path, state: State
) -> None:
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", silent(tmp_path))
        await until(lambda: hub.states["gate"][0] == "live")
        hub.tell("gate", state, "so it is")
        with pytest.raises(SourceError, match=f"it is {state}"):
            await cameras.view("gate")


async def test_a_view_is_opened_once_at_a_time_and_by_a_process_of_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        view = SecretStr(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/view")
        camera = silent(tmp_path).model_copy(update={"view": view, "open_timeout_s": 0.3})
        async with watched(tmp_path) as (cameras, hub):
            cameras.add("gate", camera)
            await until(lambda: hub.states["gate"][0] == "live")
            readers = set(children(os.getpid()))
            viewing = asyncio.create_task(cameras.view("gate"))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="being taken already"):
                await cameras.view("gate")
            assert len(set(children(os.getpid())) - readers) == 1
            with pytest.raises(SourceError, match=r"no answer within 0\.3 s"):
                await viewing
            await until(lambda: set(children(os.getpid())) == readers)


async def test_the_view_of_a_file_is_the_picture_that_was_counted_last(tmp_path: Path) -> None:
    """Opened anew, a file would show its first."""
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", silent(tmp_path).model_copy(update={"view": None}))
        await until(lambda: "gate" in hub.seen)
        shown = await cameras.view("gate")
        assert shown.image_HW3 is hub.seen["gate"].image_HW3


async def test_views_wait_for_their_turn_among_all_that_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VIEW_S", 0.05)
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", silent(tmp_path))
        await until(lambda: hub.states["gate"][0] == "live")
        readers, openings = children(os.getpid()), cameras._readers.openings
        async with AsyncExitStack() as others:
            for _ in range(8):
                await others.enter_async_context(openings.place())
            with pytest.raises(SourceError, match=r"no picture within 0\.05 s"):
                await cameras.view("gate")
        assert children(os.getpid()) == readers


async def test_nobody_sees_a_camera_that_was_removed_while_it_was_viewed(tmp_path: Path) -> None:
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", silent(tmp_path))
        await until(lambda: hub.states["gate"][0] == "live")
        viewing = asyncio.create_task(cameras.view("gate"))
        await asyncio.sleep(0)
        cameras.remove("gate")
        with pytest.raises(SourceError, match="changed or removed"):
            await viewing


async def test_a_count_leaves_the_metrics_when_its_reading_is_stale_though_few_are_asked_for(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", silent(tmp_path))
        await until(lambda: people(hub))
        cameras.set_rate("gate", 0.05)  # the machine is short, and the camera not to blame
        await until(lambda: hub.seen["gate"].reading.message()["stale"])
        await until(lambda: not people(hub))
        assert hub.states["gate"][0] == "live"


async def test_a_count_is_not_stale_before_three_were_due(tmp_path: Path) -> None:
    async with watched(tmp_path) as (cameras, hub):
        file = video(tmp_path / "slow.mp4", [(number / 10, 100) for number in range(60)])
        camera = Camera(source=SecretStr(str(file)), rate=0.5, stale_after_s=0.3)
        cameras.add("gate", camera)
        await until(lambda: people(hub))
        await asyncio.sleep(0.8)
        assert not hub.seen["gate"].reading.message()["stale"]
        assert people(hub)
        assert cameras.settings("gate").stale_after_s == 6


async def test_a_camera_put_again_is_told_its_rate_again(tmp_path: Path) -> None:
    async with watched(tmp_path) as (cameras, _):
        for _ in range(2):
            cameras.add("gate", silent(tmp_path))
            cameras.set_rate("gate", 2.0)
            assert cameras._entries["gate"].life.rate == 2.0


async def test_a_lowered_rate_is_shown_and_asked_of_the_reader(tmp_path: Path) -> None:
    async with watched(tmp_path) as (cameras, hub):
        cameras.add("gate", Camera(source=SecretStr("demo"), rate=20, size=(128, 64)))
        await until(lambda: "gate" in hub.seen)
        assert cameras.asked() == {"gate": 20}
        cameras.set_rate("gate", 2.0)
        await asyncio.sleep(0.3)
        seq = hub.seen["gate"].reading.seq
        await asyncio.sleep(0.8)
        assert hub.seen["gate"].reading.seq <= seq + 3
        assert cameras.asked() == {"gate": 20}


async def test_a_camera_put_again_is_another_one(tmp_path: Path) -> None:
    async with watched(tmp_path, most=1) as (cameras, hub):
        cameras.add("gate", silent(tmp_path))
        await until(lambda: "gate" in hub.seen)
        cameras.add("gate", silent(tmp_path, name="other.mp4", grey=200))
        assert "gate" not in hub.seen
        await until(lambda: "gate" in hub.seen)
        assert hub.seen["gate"].reading.count == pytest.approx(9.6, rel=0.05)
        assert hub.seen["gate"].reading.seq <= 2
        assert cameras.names() == ["gate"]


async def test_beyond_the_limit_no_camera_is_added(tmp_path: Path) -> None:
    async with watched(tmp_path, most=2) as (cameras, _):
        for name in ("a", "b"):
            cameras.add(name, silent(tmp_path))
        with pytest.raises(Overloaded, match=r"server\.max_cameras"):
            cameras.add("c", silent(tmp_path))
        assert cameras.names() == ["a", "b"]
