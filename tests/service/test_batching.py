"""The batcher: newest frames, each in its turn, nothing lost without being counted."""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from deploy.engines import Frames, Maps
from models.density import Map, count
from models.errors import EngineError
from service import batching
from service.batching import Batcher, Job
from service.metrics import Metrics
from service.pieces import cut
from service.settings import Batching, Priority
from tests.fakes import RULE, FakeEngine, brightness, solid

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


class Stepped(FakeEngine):
    """Counts one batch when the test says so: its speed is the test's."""

    def __init__(self, *, batch: int = 1) -> None:
        super().__init__(batch=batch)
        self.asked: deque[tuple[Frames, Future[Maps]]] = deque()

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        self.shapes.append(frames_NHW3.shape)
        self.asked.append((frames_NHW3, Future()))
        return self.asked[-1][1]

    def step(self) -> None:
        frames_NHW3, future = self.asked.popleft()
        future.set_result(brightness(frames_NHW3))

    def release(self) -> None:
        super().release()
        while self.asked:
            self.step()


@dataclass
class Source:
    """A camera that gives a frame every `every` steps."""

    every: float
    priority: Priority = "normal"
    side: int = 16


@dataclass
class Crowd:
    """An engine with more to do than it can, in steps of 50 ms; one batch is counted in each."""

    cameras: dict[str, Source]
    pictures: int = 0  # pieces that are in the line at any time
    batch: int = 1
    told: dict[str, Ends] = field(default_factory=lambda: defaultdict(Ends))
    gaps: Counter[str] = field(default_factory=Counter)  # steps at most from count to count

    async def work(self, steps: int) -> None:
        engine = Stepped(batch=self.batch)
        async with running(engine, Batching(wait_ms=0.001, max_age_s=1000)) as batcher:
            began_s, served = time.monotonic() - 100, dict.fromkeys(self.cameras, 0)
            due = {name: index / 100 for index, name in enumerate(self.cameras)}
            for step in range(steps):
                self._offer(batcher, due, step, began_s)
                before = {name: self.counts(name) for name in self.cameras}
                await _settled()
                if engine.asked:
                    engine.step()
                await _settled()
                for name in self.cameras:
                    if self.counts(name) > before[name]:
                        served[name] = step
                    self.gaps[name] = max(self.gaps[name], step - served[name])
        self.shapes = engine.shapes

    def counts(self, name: str) -> int:
        return sum(isinstance(one, int) for one in self.told[name].told)

    def _offer(self, batcher: Batcher, due: dict[str, float], step: int, began_s: float) -> None:
        for name, source in self.cameras.items():
            while due[name] <= step:
                piece = cut(solid(20, (source.side, source.side)), RULE).pieces[0]
                since_s = began_s + due[name] * 0.05
                batcher.offer(Job(piece, since_s, name, self.told[name], source.priority))
                due[name] += source.every
        piece = cut(solid(20, (16, 16)), RULE).pieces[0]
        for _ in range(self.pictures - len(batcher._line)):
            batcher.offer(Job(piece, began_s + step * 0.05, None, self.told["pictures"]))


async def _settled() -> None:
    """Let the loop do all that it can do without the engine."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


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


async def test_a_newer_frame_keeps_the_turn_of_the_one_it_replaces() -> None:
    engine, ends = FakeEngine(), Ends()
    async with running(engine) as batcher:
        await occupied(batcher, engine, Ends())
        for grey, camera, age_s in ((10, "a", 3), (20, "b", 2), (30, "a", 1)):
            batcher.offer(job(grey, ends, camera, age_s=age_s))
        engine.release()
        await until(lambda: len(ends.told) == 3)
    assert ends.told == ["replaced", 30, 20]


async def test_a_camera_whose_frame_grew_stale_keeps_its_turn() -> None:
    engine, ends = Stepped(), Ends()
    async with running(engine, Batching(max_age_s=5)) as batcher:
        batcher.offer(job(10, ends, "b"))
        await until(lambda: len(engine.asked) == 1)
        batcher.offer(job(20, ends, "a", age_s=9))
        batcher.offer(job(30, ends, "b", age_s=1))
        engine.step()
        await until(lambda: len(ends.told) == 2)
        batcher.offer(job(40, ends, "c", age_s=0.5))
        batcher.offer(job(50, ends, "a"))
        for told in (3, 4, 5):
            engine.step()
            await until(lambda told=told: len(ends.told) == told)  # type: ignore[misc]
            await until(lambda told=told: told == 5 or bool(engine.asked))  # type: ignore[misc]
    assert ends.told == [10, "stale", 30, 50, 40]


async def test_a_priority_shifts_the_turn_by_a_second() -> None:
    engine, ends = FakeEngine(), Ends()
    async with running(engine) as batcher:
        await occupied(batcher, engine, Ends())
        offers: tuple[tuple[int, Priority, float], ...] = (
            *((10, "low", 3.2), (20, "low", 2.8), (30, "normal", 2), (40, "high", 1.5)),
            *((50, "normal", 0.6), (60, "high", 0.5), (70, "low", 0.4)),
        )
        for grey, priority, age_s in offers:
            one = job(grey, ends, f"camera {grey}", age_s=age_s)
            batcher.offer(Job(one.piece, one.since_s, one.camera, one.done, priority))
        engine.release()
        await until(lambda: len(ends.told) == 7)
    assert ends.told == [40, 10, 30, 20, 60, 50, 70]


async def test_a_fast_camera_gets_as_much_as_slow_ones_where_not_all_can_be_counted() -> None:
    slow = {f"slow {index}": Source(every=10) for index in range(19)}
    crowd = Crowd({"fast": Source(every=0.4), **slow})
    await crowd.work(400)
    assert all(15 <= crowd.counts(name) <= 25 for name in crowd.cameras)


async def test_high_priority_is_served_and_low_does_not_starve() -> None:
    crowd = Crowd(
        {
            f"{priority} {index}": Source(every=5, priority=priority)
            for priority in ("high", "normal", "low")
            for index in range(3)
        }
    )
    await crowd.work(400)
    high, normal, low = (
        [crowd.counts(f"{priority} {index}") for index in range(3)]
        for priority in ("high", "normal", "low")
    )
    assert min(high) >= 75  # of 80 given
    assert min(normal) > max(low) >= min(low) >= 10
    assert max(crowd.gaps.values()) * 0.05 <= 2.5  # seconds: a cycle and two head starts


async def test_a_crowd_of_high_priority_does_not_starve_the_rest() -> None:
    high = {f"high {index}": Source(every=2, priority="high") for index in range(10)}
    crowd = Crowd({**high, "normal": Source(every=2), "low": Source(every=2, priority="low")})
    await crowd.work(400)
    assert crowd.counts("normal") >= 8
    assert crowd.counts("low") >= 5
    assert max(crowd.gaps.values()) * 0.05 <= 3.5


@pytest.mark.parametrize("batch", [1, 4])
async def test_pictures_and_cameras_do_not_starve_each_other(batch: int) -> None:
    busy = Crowd({f"camera {index}": Source(every=2) for index in range(9)}, pictures=8)
    few = Crowd({f"camera {index}": Source(every=8) for index in range(2)}, pictures=8)
    for crowd in (busy, few):
        crowd.batch = batch
        await crowd.work(200)
    of_cameras = [busy.counts(name) for name in busy.cameras]
    assert sum(of_cameras) >= 0.45 * 200 * batch
    assert max(of_cameras) <= 1.5 * min(of_cameras)
    assert busy.counts("pictures") >= 0.35 * 200 * batch
    assert min(few.counts(name) for name in few.cameras) >= 24  # of 25 given
    assert few.counts("pictures") >= (200 - 50) * batch * 0.9


async def test_a_rare_size_is_not_starved_by_a_common_one_and_no_batch_mixes_them() -> None:
    common = {f"common {index}": Source(every=1) for index in range(8)}
    crowd = Crowd({**common, "rare": Source(every=1, side=32)}, batch=4)
    await crowd.work(200)
    assert crowd.counts("rare") >= 200 / 4
    assert {shape[1:] for shape in crowd.shapes} == {(16, 16, 3), (32, 32, 3)}


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


async def test_pieces_that_nobody_awaits_are_not_counted() -> None:
    engine, ends = FakeEngine(), Ends()
    async with running(engine) as batcher:
        await occupied(batcher, engine, Ends())
        jobs = [job(grey, ends) for grey in (10, 20, 30)]
        for one in jobs:
            batcher.offer(one)
        batcher.recall([*jobs[:2], job(40, ends)])
        engine.release()
        await until(lambda: bool(ends.told))
    assert ends.told == [30]
    assert len(engine.shapes) == 2


async def test_the_wait_of_a_picture_is_guessed_from_what_is_before_it() -> None:
    engine, ends = FakeEngine(), Ends()
    async with running(engine) as batcher:
        assert batcher.wait_s == 0
        await occupied(batcher, engine, Ends())
        await anyio.sleep(0.05)  # what a frame takes
        engine.release()
        await until(lambda: not engine.at_once)
        await batcher.drain()
        engine.hold()
        await occupied(batcher, engine, Ends())
        for _ in range(100):
            batcher.offer(job(10, ends))
        alone_s = batcher.wait_s
        assert alone_s >= 100 * 0.05 * batching.RECENT
        batcher.offer(job(10, ends, "gate"))
        assert batcher.wait_s == pytest.approx(2 * alone_s)  # it may have every other turn
        engine.release()
        await until(lambda: len(ends.told) == 101)
        assert batcher.wait_s == 0


async def test_what_was_counted_and_given_up_for_want_of_time_is_tallied() -> None:
    engine, ends = FakeEngine(), Ends()
    async with running(engine, Batching(max_age_s=5)) as batcher:
        await occupied(batcher, engine, ends)
        for camera in ("a", "a", None):
            batcher.offer(job(10, ends, camera))
        batcher.offer(job(10, ends, "b", age_s=9))
        batcher.offer(job(10, ends, "c"))
        batcher.withdraw("c")
        engine.release()
        await until(lambda: len(ends.told) == 6)
        sample = batcher.tally.take(1.0, cameras=2)
    assert (sample.counted, sample.short) == (2, 2)  # the first and a; a and b
    assert 0 < sample.wait_s < 5


async def test_an_engine_that_hangs_is_told_and_holds_nobody_up_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, under_way, waiting = FakeEngine(), Ends(), Ends()
    batcher = Batcher(engine, PATIENT, Metrics(CollectorRegistry()))
    task = asyncio.create_task(batcher.run())
    await occupied(batcher, engine, under_way)
    for camera in ("gate", None):
        batcher.offer(job(10, waiting, camera))
    assert batcher.healthy
    monkeypatch.setattr(batching, "STUCK_S", 0.0)
    assert batcher.stuck
    assert not batcher.healthy
    with anyio.fail_after(1):
        task.cancel()
        await asyncio.wait((task,))
        assert waiting.told == ["removed", "removed"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.drain(), 0.05)
    engine.close()
    await batcher.drain()
    assert not batcher.stuck


async def test_frames_that_wait_for_company_are_told_when_it_ends() -> None:
    engine, ends = FakeEngine(batch=2), Ends()
    async with running(engine, Batching(wait_ms=60_000)) as batcher:
        batcher.offer(job(10, ends, "gate"))
        await anyio.wait_all_tasks_blocked()
    await anyio.wait_all_tasks_blocked()
    assert ends.told == ["removed"]
    assert not engine.shapes


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
