import time
from collections import Counter

import anyio
import pytest

from service.settings import Batching
from tests.fakes import FakeEngine
from tests.service.batching.line import Ends, job, occupied, running, until

pytestmark = pytest.mark.anyio


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
