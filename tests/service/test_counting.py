"""From frames and posted pictures to counts, through the real batcher."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
from service import counting
from service.batching import Batcher
from service.counting import CameraLine, PictureCounter, Wiring, Zones
from service.history import History
from service.hub import Hub
from service.ingest import Frame
from service.metrics import DROPS, Metrics
from service.pieces import cut
from service.readings import Reading
from service.settings import Batching, Camera, Server, Settings, Zone
from service.settings import History as Keep
from tests.fakes import FakeEngine, bundle, frame, solid

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)
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
    history: History
    line: CameraLine

    async def counted(self, one: Frame) -> Reading:
        """Its next frame, seen through to its reading."""
        self.line.frame(one)
        await until(self, int(self.total("throng_frames_total")))
        return self.hub.seen["gate"].reading

    def stored(self) -> list[float]:
        now = datetime.now(UTC)
        rows, _ = self.history.between("gate", start=now - HOUR, end=now + HOUR, limit=100)
        return [row["count"] for row in rows]

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
async def room(
    folder: Path, *, max_age_s: float = 100.0, camera: Camera = CAMERA
) -> AsyncIterator[Room]:
    engine, registry = FakeEngine(), CollectorRegistry()
    metrics = Metrics(registry)
    hub, history = Hub(metrics), History(folder / "history.sqlite", Keep(), metrics)
    batcher = Batcher(engine, Batching(max_age_s=max_age_s), metrics)
    hub.admit("gate", rate=2, zones={}, stale_after_s=5)
    hub.tell("gate", "live", "")
    wiring = Wiring(bundle(), batcher, hub, history)
    task = asyncio.create_task(batcher.run())
    try:
        yield Room(engine, registry, hub, batcher, history, CameraLine("gate", camera, wiring))
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


STEPS = ("frame", "old", "black", "lost", "hold", "release", "fail", "heal", "withdraw", "turn")


@given(steps=st.lists(st.sampled_from(STEPS)), lost=st.sampled_from(DROPS), close=st.booleans())
@hypothesis_settings(max_examples=40)
async def test_frames_are_counted_or_dropped_or_failed(
    steps: list[str], lost: str, close: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("room")
        one = await stack.enter_async_context(room(folder, max_age_s=5))
        given = 0
        for step in steps:
            given += await act(one, step, lost)
            assert one.total("throng_frames_total") == given
            under_way = given - one.ended()
            assert 0 <= under_way <= 1 + one.engine.lanes + 1  # a slot, lanes, one just answered
        if close:
            one.batcher.withdraw("gate")
            one.line.close()
            one.hub.forget("gate")
        one.engine.release()
        if close:
            await one.batcher.drain()
            assert one.total("throng_frames_total") == one.ended() == 0  # no series at all
        else:
            await until(one, given)
            assert one.ended() == given


async def act(one: Room, step: str, lost: str) -> int:
    """Do one thing to the room: how many frames that makes."""
    match step:
        case "frame" | "old" | "black":
            one.line.frame(frame(0 if step == "black" else 100, age_s=9 if step == "old" else 0))
            return 1
        case "lost":
            one.line.lost(lost, frames=3)
            return 3
        case "hold" | "release":
            getattr(one.engine, step)()
        case "fail" | "heal":
            one.engine.error = EngineError("no") if step == "fail" else None
        case "withdraw":
            one.batcher.withdraw("gate")
        case _:
            await anyio.sleep(0.001)
    return 0


async def test_a_closed_line_takes_nothing_and_makes_no_series(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        one.line.close()
        one.hub.forget("gate")
        one.line.frame(frame())
        one.line.lost("late")
        one.line.opened()
        assert one.total("throng_frames_total") == 0
        assert not one.hub.states


async def test_lost_frames_came_and_were_dropped_for_their_reason(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        one.line.lost("late", frames=4)
        one.line.lost("busy")
        assert one.total("throng_frames_total") == 5
        assert one.total("throng_frames_dropped_total", reason="late") == 4
        with pytest.raises(KeyError):
            one.line.lost("bored")
        assert one.total("throng_frames_total") == one.ended() == 5


async def test_a_black_picture_is_counted_told_and_not_kept(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        one.history.start()
        assert (await one.counted(frame(100))).valid
        bad = await one.counted(frame(0))
        assert (bad.invalid, bad.seq, bad.state) == ("black", 2, "live")
        assert one.total("throng_people") == 0
        assert one.total("throng_reading_invalid_total", reason="black") == 1
        assert (await one.counted(frame(100))).valid
        assert one.total("throng_people") > 0
        one.history.close()
        assert one.stored() == pytest.approx([4.8, 4.8], rel=1e-4)


async def test_a_damaged_picture_is_no_count_whatever_the_camera_looks_like(tmp_path: Path) -> None:
    camera = CAMERA.model_copy(update={"check_picture": False})
    async with room(tmp_path, camera=camera) as one:
        assert (await one.counted(frame(100))).valid
        bad = await one.counted(replace(frame(100), damaged=True))
        assert (bad.valid, bad.invalid, bad.state) == (False, "damaged", "live")
        assert one.total("throng_people") == 0
        assert one.total("throng_reading_invalid_total", reason="damaged") == 1
        assert (await one.counted(frame(100))).valid


@pytest.mark.parametrize(
    ("grey", "reason"),
    [
        (0, "the picture is black"),
        (255, "the picture is overexposed"),
        (130, "the camera is covered"),
    ],
)
async def test_a_camera_that_shows_nothing_is_dark_until_its_first_good_picture(
    tmp_path: Path, grey: int, reason: str
) -> None:
    async with room(tmp_path) as one:
        for age_s in (2.0, 1.7, 1.0):
            bad = replace(frame(age_s=age_s), image_HW3=solid(grey, (48, 64)))
            await one.counted(bad)
        assert one.hub.states["gate"] == ("dark", reason)
        good = await one.counted(frame(100))
        assert one.hub.states["gate"] == ("live", "")
        assert (good.state, good.valid) == ("live", True)


async def test_a_camera_that_repeats_one_picture_is_frozen(tmp_path: Path) -> None:
    camera = CAMERA.model_copy(update={"frozen_after_s": 3.0})
    async with room(tmp_path, camera=camera) as one:
        readings = [await one.counted(frame(age_s=age_s)) for age_s in (9.0, 7.0, 6.0, 5.0)]
        assert [reading.invalid for reading in readings] == [None, None, "frozen", "frozen"]
        assert one.hub.states["gate"] == ("frozen", "the same picture for 3 s")
        assert (await one.counted(frame(101))).valid
        assert one.hub.states["gate"] == ("live", "")


async def test_a_frame_ends_a_stall_and_nothing_else_that_others_found(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        one.hub.tell("gate", "stalled", "no frame for 5 s")
        one.line.frame(frame())
        assert one.hub.states["gate"] == ("live", "")
        one.hub.tell("gate", "down", "the stream ended")
        one.line.frame(frame(0, age_s=2))
        one.line.frame(frame(0))
        assert one.hub.states["gate"] == ("down", "the stream ended")
        one.line.opened()
        assert one.hub.states["gate"] == ("dark", "the picture is black")


async def test_pictures_are_not_judged_where_the_settings_say_so(tmp_path: Path) -> None:
    async with room(tmp_path, camera=CAMERA.model_copy(update={"check_picture": False})) as one:
        await one.counted(frame(0, age_s=5))
        assert (await one.counted(frame(0))).valid
        assert one.hub.states["gate"] == ("live", "")


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
    assert small.density_hw.shape == (6, 8)
    assert small.count == pytest.approx(4.8, rel=1e-4)
    assert large.density_hw.shape == (8, 16)
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


async def test_the_pieces_of_a_picture_that_failed_are_not_counted_any_more(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        one.engine.error = EngineError("no")
        with pytest.raises(EngineError):
            await PictureCounter(Settings(), bundle(), one.batcher).count(solid(0, (3000, 4000)))
        pieces = len(cut(solid(0, (3000, 4000)), bundle().manifest.input).pieces)
        one.engine.error = None
        await PictureCounter(Settings(), bundle(), one.batcher).count(solid(0, (48, 64)))
        assert len(one.engine.shapes) < pieces


async def test_a_picture_is_not_awaited_for_ever_where_the_engine_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "ANSWER_S", 0.1)
    async with room(tmp_path) as one:
        one.engine.hold()
        with pytest.raises(Overloaded, match="the engine gave no answer within"):
            await PictureCounter(Settings(), bundle(), one.batcher).count(solid(0, (48, 64)))


async def test_what_may_be_shown_is_settled_when_a_picture_is_taken(tmp_path: Path) -> None:
    """A letter that waits may not show under new settings what the old ones hid."""
    camera = CAMERA.model_copy(update={"preview": "none"})
    async with room(tmp_path, camera=camera) as one:
        await one.counted(frame(100))
        assert one.hub.seen["gate"].preview == "none"


async def test_the_line_has_so_many_places_and_they_are_given_back(tmp_path: Path) -> None:
    async with room(tmp_path) as one:
        counter = PictureCounter(Settings(server=Server(waiting_pictures=2)), bundle(), one.batcher)
        with counter.place(), counter.place(), pytest.raises(Overloaded), counter.place():
            pass
        with counter.place(), counter.place():
            pass
