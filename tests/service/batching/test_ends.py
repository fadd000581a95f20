import asyncio

import anyio
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from deploy.engines import Frames, Maps
from models.errors import EngineError
from service import batching
from service.batching import Batcher
from service.metrics import Metrics
from service.settings import Batching
from tests.fakes import FakeEngine
from tests.service.batching.line import (
    PATIENT,
    Broken,
    Ends,
    job,
    occupied,
    running,
    until,
)

pytestmark = pytest.mark.anyio


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
        assert batcher.wait_s == pytest.approx(2 * alone_s, rel=0.1)  # it may have every other turn
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


async def test_what_is_no_number_is_a_failure_of_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, ends = FakeEngine(), Ends()

    def broken(frames_NHW3: Frames) -> Maps:
        return np.full((len(frames_NHW3), 2, 2), np.nan, np.float32)

    monkeypatch.setattr(engine, "_infer", broken)
    async with running(engine) as batcher:
        batcher.offer(job(10, ends, "gate"))
        await until(lambda: bool(ends.told))
    assert ends.told == ["failed"]


async def test_an_engine_that_failed_is_ready_again_once_nothing_has_failed_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, ends = FakeEngine(), Ends()
    engine.error = EngineError("no kernel")
    async with running(engine) as batcher:
        for _ in range(batching.ENOUGH_FAILURES):
            batcher.offer(job(10, ends))
        await until(lambda: len(ends.told) == batching.ENOUGH_FAILURES)
        assert not batcher.healthy
        monkeypatch.setattr(batching, "FORGIVEN_S", 0.0)
        assert batcher.healthy


async def test_pictures_would_wait_for_as_long_as_all_lanes_hang() -> None:
    engine, ends = FakeEngine(lanes=2), Ends()
    async with running(engine) as batcher:
        await occupied(batcher, engine, ends)
        hung_s = batcher.wait_s
        await asyncio.sleep(0.1)
        assert batcher.wait_s >= hung_s + 0.1
        engine.release()
        await until(lambda: len(ends.told) == 2)
        assert batcher.wait_s < 0.1
