"""From frames and posted pictures to counts, through the real batcher."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from models.density import count
from models.errors import EngineError, Overloaded
from service.batching import Batcher
from service.counting import CameraLine, PictureCounter, Wiring, Zones
from service.history import History
from service.hub import Hub
from service.metrics import Metrics
from service.settings import Batching, Camera, Server, Settings, Zone
from service.settings import History as Keep
from tests.fakes import FakeEngine, bundle, frame, solid

pytestmark = pytest.mark.anyio
LEFT = Zone(polygon=((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
RIGHT = Zone(polygon=((0.5, 0), (1, 0), (1, 1), (0.5, 1)))
CAMERA = Camera(source=SecretStr("demo"), zones={"left": LEFT, "right": RIGHT})


@dataclass
class Room:
    """A camera's line with everything it is connected to."""

    engine: FakeEngine
    registry: CollectorRegistry
    hub: Hub
    batcher: Batcher
    line: CameraLine

    def total(self, name: str, **labels: str) -> float:
        samples = (s for family in self.registry.collect() for s in family.samples)
        wanted = {"camera": "gate", **labels}
        return sum(
            s.value for s in samples if s.name == name and wanted.items() <= s.labels.items()
        )

    def ended(self) -> float:
        names = ("counted", "dropped", "failed")
        return sum(self.total(f"throng_frames_{name}_total") for name in names)


@asynccontextmanager
async def room(folder: Path, *, max_age_s: float = 100.0) -> AsyncIterator[Room]:
    engine, registry = FakeEngine(), CollectorRegistry()
    metrics = Metrics(registry)
    hub, history = Hub(metrics), History(folder / "history.sqlite", Keep(), metrics)
    batcher = Batcher(engine, Batching(max_age_s=max_age_s), metrics)
    hub.admit("gate", rate=2, zones={})
    hub.tell("gate", "live", "")
    wiring = Wiring(bundle(), batcher, hub, history, metrics)
    task = asyncio.create_task(batcher.run())
    try:
        yield Room(engine, registry, hub, batcher, CameraLine("gate", CAMERA, wiring))
    finally:
        task.cancel()
        engine.release()
        await batcher.drain()
        engine.close()


async def until(room: Room, frames: int) -> None:
    with anyio.fail_after(10):
        while room.ended() < frames:  # noqa: ASYNC110  # engines answer from threads
            await anyio.sleep(0.001)


async def test_a_frame_becomes_a_reading_with_its_zones_and_interval(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        one.line.frame(frame(100, size_hw=(48, 64)))
        await until(one, 1)
        reading = one.hub.seen["gate"].reading
    assert reading.count == pytest.approx(6 * 8 * 0.1, rel=1e-4)
    assert reading.zones == pytest.approx({"left": 2.4, "right": 2.4}, rel=1e-4)
    assert reading.interval[0] < reading.count < reading.interval[1]
    assert (reading.seq, reading.state, reading.truth) == (1, "live", None)


async def test_readings_are_numbered_in_order(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        for number in (1, 2, 3):
            one.line.frame(frame())
            await until(one, number)
            assert one.hub.seen["gate"].reading.seq == number


async def test_a_size_may_change_between_frames(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        for number, size in enumerate([(48, 64), (100, 37), (16, 16)], 1):
            one.line.frame(frame(100, size_hw=size))
            await until(one, number)
            seen = one.hub.seen["gate"]
            assert seen.density_hw.shape == (-(-size[0] // 8), -(-size[1] // 8))
            assert sum(seen.reading.zones.values()) == pytest.approx(seen.reading.count, rel=1e-4)


async def test_what_is_still_in_the_engine_when_its_camera_goes_makes_no_series(
    tmp_path: Path,
) -> None:
    async with room(tmp_path) as one:
        one.engine.hold()
        one.line.frame(frame())
        await anyio.wait_all_tasks_blocked()
        one.line.close()
        one.hub.forget("gate")
        one.engine.error = EngineError("no")
        one.engine.release()
        await one.batcher.drain()
        labels = [s.labels for family in one.registry.collect() for s in family.samples]
        assert not [label for label in labels if "camera" in label]
        assert not one.hub.seen


@given(steps=st.lists(st.sampled_from(["frame", "old", "hold", "release", "fail", "heal", "turn"])))
@hypothesis_settings(max_examples=30)
async def test_frames_are_counted_or_dropped_or_failed(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("room")
        one = await stack.enter_async_context(room(folder, max_age_s=5))
        for step in steps:
            if step in ("frame", "old"):
                one.line.frame(frame(age_s=9 if step == "old" else 0))
            elif step in ("hold", "release"):
                getattr(one.engine, step)()
            elif step in ("fail", "heal"):
                one.engine.error = EngineError("no") if step == "fail" else None
            else:
                await anyio.sleep(0.001)
            under_way = one.total("throng_frames_total") - one.ended()
            assert 0 <= under_way <= 1 + one.engine.lanes + 1  # a slot, lanes, one just answered
        one.engine.release()
        await until(one, int(one.total("throng_frames_total")))
        assert one.ended() == one.total("throng_frames_total")


async def test_zones_that_tile_the_picture_add_up_to_it() -> None:
    density = np.random.default_rng(0).random((13, 17)).astype(np.float32)
    assert sum(Zones(CAMERA).counts(density).values()) == pytest.approx(count(density))


async def test_a_posted_picture_is_counted_whole_and_scaled_where_it_is_too_long(
    tmp_path: Path,
) -> None:
    settings = Settings(server=Server(max_picture_side=128))
    async with room(tmp_path) as one:
        counter = PictureCounter(settings, bundle(), one.batcher)
        small = await counter.count(solid(100, (48, 64)))
        large = await counter.count(solid(100, (256, 512)))
    assert small.counted_hw == (48, 64)
    assert small.count == pytest.approx(4.8, rel=1e-4)
    assert large.counted_hw == (64, 128)
    assert large.count == pytest.approx(0.1 * 8 * 16, rel=1e-4)
    assert large.density_hw.sum() == pytest.approx(large.count, rel=1e-4)


async def test_a_large_picture_is_many_pieces_of_one_count(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        answer = await PictureCounter(Settings(), bundle(), one.batcher).count(
            solid(100, (1200, 2000))
        )
        assert len(one.engine.shapes) > 1
    assert answer.count == pytest.approx(0.1 * 150 * 250, rel=1e-4)


async def test_an_engine_that_fails_fails_the_picture(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        one.engine.error = EngineError("no")
        with pytest.raises(EngineError):
            await PictureCounter(Settings(), bundle(), one.batcher).count(solid(0, (1200, 2000)))


async def test_the_line_has_so_many_places_and_they_are_given_back(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        counter = PictureCounter(Settings(server=Server(waiting_pictures=2)), bundle(), one.batcher)
        with counter.place(), counter.place(), pytest.raises(Overloaded), counter.place():
            pass
        with counter.place(), counter.place():
            pass
