import pytest

from service.batching import Job
from service.settings import Batching, Priority
from tests.fakes import FakeEngine
from tests.service.batching.crowd import Crowd, Source, Stepped
from tests.service.batching.line import Ends, job, occupied, running, until

pytestmark = pytest.mark.anyio


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
