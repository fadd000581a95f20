"""The batcher: newest frames, oldest first, nothing lost without being counted."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from models.density import Map, count
from models.errors import EngineError
from service.batching import Batcher, Job
from service.metrics import Metrics
from service.pieces import cut
from service.settings import Batching
from tests.fakes import RULE, FakeEngine, solid

pytestmark = pytest.mark.anyio
PATIENT = Batching(max_age_s=1000)


@dataclass(eq=False)
class Ends:
    """Notes how the jobs ended: a grey, `failed`, or the reason of a drop."""

    told: list[str | int] = field(default_factory=list)

    def counted(self, density_hw: Map) -> None:
        self.told.append(round(count(density_hw) / density_hw.size * 1000))

    def failed(self, error: EngineError) -> None:
        self.told.append("failed")

    def dropped(self, reason: str) -> None:
        self.told.append(reason)


class Broken(Ends):
    """A bug in whoever is told."""

    def counted(self, density_hw: Map) -> None:
        super().counted(density_hw)
        raise ZeroDivisionError

    def failed(self, error: EngineError) -> None:
        super().failed(error)
        raise ZeroDivisionError

    def dropped(self, reason: str) -> None:
        super().dropped(reason)
        raise ZeroDivisionError


def job(
    grey: int, ends: Ends, camera: str | None = None, *, age_s: float = 0.0, side: int = 16
) -> Job:
    piece = cut(solid(grey, (side, side)), RULE).pieces[0]
    return Job(piece, time.monotonic() - age_s, camera, ends)


@asynccontextmanager
async def running(engine: FakeEngine, settings: Batching = PATIENT) -> AsyncIterator[Batcher]:
    batcher = Batcher(engine, settings, Metrics(CollectorRegistry()))
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher
        assert not task.done(), "the batcher died"
    finally:
        task.cancel()
        engine.release()
        await batcher.drain()
        engine.close()


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop and the engine's threads go on until something holds."""
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110  # engines answer from threads
            await anyio.sleep(0.001)


async def occupied(batcher: Batcher, engine: FakeEngine, ends: Ends) -> None:
    """Shut the gate with one batch a lane behind it."""
    engine.hold()
    before = len(engine.shapes)
    for lane in range(engine.lanes):
        batcher.offer(job(1, ends, f"first {lane}"))
        await until(lambda lane=lane: len(engine.shapes) == before + lane + 1)  # type: ignore[misc]


async def test_the_newest_frame_wins_and_the_replaced_one_is_told() -> None:
    engine, ends = FakeEngine(), Ends()
    async with running(engine) as batcher:
        await occupied(batcher, engine, Ends())
        for grey in (10, 20, 30):
            batcher.offer(job(grey, ends, "gate"))
        assert ends.told == ["replaced", "replaced"]
        engine.release()
        await until(lambda: len(ends.told) == 3)
    assert ends.told == ["replaced", "replaced", 30]


async def test_the_oldest_capture_goes_first_whoever_gave_it() -> None:
    engine, ends = FakeEngine(), Ends()
    async with running(engine) as batcher:
        await occupied(batcher, engine, Ends())
        for grey, camera, age_s in ((10, "a", 1), (20, None, 3), (30, "b", 4), (40, "c", 2)):
            batcher.offer(job(grey, ends, camera, age_s=age_s))
        engine.release()
        await until(lambda: len(ends.told) == 4)
    assert ends.told == [30, 20, 40, 10]


async def test_stale_frames_are_dropped_with_their_reason_and_posted_pictures_are_not() -> None:
    engine, stale, fresh = FakeEngine(), Ends(), Ends()
    async with running(engine, Batching(max_age_s=2)) as batcher:
        batcher.offer(job(10, stale, "a", age_s=3))
        batcher.offer(job(20, fresh, "b", age_s=1))
        batcher.offer(job(30, fresh, None, age_s=60))
        await until(lambda: len(stale.told + fresh.told) == 3)
    assert stale.told == ["stale"]
    assert sorted(map(str, fresh.told)) == ["20", "30"]


async def test_a_full_engine_never_makes_the_slots_grow() -> None:
    engine, ends = FakeEngine(lanes=2), Ends()
    async with running(engine) as batcher:
        await occupied(batcher, engine, ends)
        for index in range(200):
            batcher.offer(job(50, ends, f"camera {index % 5}"))
            await anyio.lowlevel.checkpoint()
        assert Counter(ends.told) == {"replaced": 195}
        assert engine.most_at_once == 2
        engine.release()
        await until(lambda: len(ends.told) == 202)
    assert engine.most_at_once == 2


async def test_equal_sizes_share_a_batch_and_others_wait_for_the_next() -> None:
    engine, ends = FakeEngine(batch=4), Ends()
    async with running(engine, Batching(wait_ms=30, max_age_s=1000)) as batcher:
        await occupied(batcher, engine, ends)
        for index in range(5):
            batcher.offer(job(20, ends, f"small {index}", age_s=9))
        batcher.offer(job(30, ends, "large", side=32, age_s=8))
        engine.release()
        await until(lambda: len(ends.told) == 7)
    assert engine.shapes[1] == (4, 16, 16, 3)
    assert sorted(engine.shapes[2:]) == [(1, 16, 16, 3), (1, 32, 32, 3)]


async def test_a_batch_takes_what_arrives_while_it_waits() -> None:
    engine, ends = FakeEngine(batch=3), Ends()
    async with running(engine, Batching(wait_ms=60_000, max_age_s=1000)) as batcher:
        for camera in "abc":
            batcher.offer(job(20, ends, camera))
            await anyio.lowlevel.checkpoint()
        await until(lambda: len(ends.told) == 3)  # full: the minute is not waited for
    assert engine.shapes == [(3, 16, 16, 3)]


async def test_a_batch_that_nobody_joins_goes_when_its_time_is_up() -> None:
    engine, ends = FakeEngine(batch=8), Ends()
    async with running(engine, Batching(wait_ms=20)) as batcher:
        began_s = time.monotonic()
        batcher.offer(job(20, ends, "gate"))
        await until(lambda: bool(ends.told))
        assert time.monotonic() - began_s >= 0.02
    assert ends.told == [20]


async def test_an_error_reaches_every_job_and_three_in_a_row_are_unhealthy() -> None:
    engine, ends = FakeEngine(batch=2), Ends()
    engine.error = EngineError("no")
    async with running(engine) as batcher:
        for failures in (1, 2, 3):
            assert batcher.healthy
            batcher.offer(job(10, ends, "a"))
            batcher.offer(job(20, ends, "b"))
            await until(lambda failures=failures: len(ends.told) == 2 * failures)  # type: ignore[misc]
        assert not batcher.healthy
        engine.error = None
        batcher.offer(job(30, ends, "a"))
        await until(lambda: 30 in ends.told)
        assert batcher.healthy
    assert ends.told == ["failed"] * 6 + [30]


async def test_an_engine_that_breaks_its_contract_fails_the_job_and_not_the_batcher(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, ends = FakeEngine(), Ends()
    engine.error = RuntimeError("out of memory")
    async with running(engine) as batcher:
        batcher.offer(job(10, ends, "a"))
        await until(lambda: bool(ends.told))
        engine.error = None
        batcher.offer(job(30, ends, "a"))
        await until(lambda: len(ends.told) == 2)
    assert ends.told == ["failed", 30]
    assert "no EngineError" in caplog.text


async def test_a_bug_in_who_is_told_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, ends, broken = FakeEngine(batch=2), Ends(), Broken()
    async with running(engine, Batching(max_age_s=5)) as batcher:
        await occupied(batcher, engine, Ends())
        batcher.offer(job(10, broken, "stale", age_s=9))
        batcher.offer(job(20, broken, "new"))
        batcher.offer(job(30, broken, "new", age_s=1))
        batcher.offer(job(40, ends, "gate"))
        engine.release()
        await until(lambda: len(broken.told + ends.told) == 4)
        engine.error = EngineError("no")
        batcher.offer(job(50, broken, "new", age_s=1))
        batcher.offer(job(60, ends, "gate"))
        await until(lambda: len(broken.told + ends.told) == 6)
    assert broken.told == ["replaced", "stale", 30, "failed"]
    assert ends.told == [40, "failed"]
    assert caplog.text.count("could not be told") == 4


async def test_a_withdrawn_camera_has_no_frame_waiting() -> None:
    engine, ends = FakeEngine(), Ends()
    async with running(engine) as batcher:
        await occupied(batcher, engine, Ends())
        batcher.offer(job(10, ends, "gate"))
        batcher.withdraw("gate")
        batcher.withdraw("nobody")
    assert ends.told == ["removed"]


async def test_draining_waits_for_what_the_engine_works_on() -> None:
    engine, ends = FakeEngine(), Ends()
    async with running(engine) as batcher:
        await occupied(batcher, engine, ends)
        engine.release()
        await batcher.drain()
        assert ends.told == [1]
        await batcher.drain()


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("offer"), st.sampled_from(["a", "b", "c", None]), st.sampled_from([0, 9])
        ),
        st.tuples(st.sampled_from(["hold", "release", "fail", "heal", "turn"])),
        st.tuples(st.just("withdraw"), st.sampled_from(["a", "b", "c"])),
    ),
    max_size=60,
)


@given(steps=STEPS, lanes=st.integers(1, 3), batch=st.integers(1, 4))
@hypothesis_settings(max_examples=60)
async def test_every_frame_ends_exactly_once_whatever_happens(
    steps: list[tuple[str, object, int]], lanes: int, batch: int
) -> None:
    engine, ends, offered = FakeEngine(lanes=lanes, batch=batch), Ends(), 0
    async with running(engine, Batching(max_age_s=5, wait_ms=0.1)) as batcher:
        for name, *details in steps:
            if name == "offer":
                camera, age_s = details
                assert camera is None or isinstance(camera, str)
                batcher.offer(job(10, ends, camera, age_s=float(str(age_s))))
                offered += 1
            elif name == "withdraw":
                batcher.withdraw(str(details[0]))
            elif name == "turn":
                await anyio.sleep(0.0005)
            else:
                actions[name](engine)
        engine.release()
        await until(lambda: len(ends.told) == offered)
        assert engine.most_at_once <= lanes
        assert max([shape[0] for shape in engine.shapes], default=1) <= batch


def _fail(engine: FakeEngine) -> None:
    engine.error = EngineError("no")


def _heal(engine: FakeEngine) -> None:
    engine.error = None


actions: dict[str, Callable[[FakeEngine], None]] = {
    "hold": FakeEngine.hold,
    "release": FakeEngine.release,
    "fail": _fail,
    "heal": _heal,
}
