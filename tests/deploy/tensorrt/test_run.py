"""The TensorRT engine over fakes: every state that a real GPU could put it in."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import pytest

from deploy.bundle import Bundle
from deploy.engines import Ends, Engine, Frames
from deploy.engines.tensorrt import TensorRT, plans
from deploy.engines.tensorrt.cuda import Lost
from deploy.engines.tensorrt.lane import Lane, Plan
from deploy.engines.tensorrt.run import TensorRTEngine
from models.errors import EngineError
from tests.deploy.tensorrt.fake import World, expected

SIZES = ((1, 16, 32), (3, 48, 144), (1, 16, 16), (17, 80, 32))


@pytest.fixture
def engine(backend: TensorRT, tiny: Bundle) -> Iterator[Engine]:
    loaded = backend.load(tiny, precision="fp16", lanes=1)
    yield loaded
    loaded.close()


def noise(number: int, height: int, width: int, seed: int = 0) -> Frames:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (number, height, width, 3), dtype=np.uint8)


def check(engine: Engine, frames_NHW3: Frames) -> None:
    maps = engine.submit(frames_NHW3).result(timeout=20)
    np.testing.assert_allclose(maps, expected(frames_NHW3), rtol=1e-6)
    assert maps.dtype == np.float32


def refusal(engine: Engine, frames_NHW3: Frames) -> EngineError:
    error = engine.submit(frames_NHW3).exception(timeout=20)
    assert isinstance(error, EngineError)
    assert "\n" not in str(error)
    return error


@pytest.mark.parametrize("size", SIZES)
def test_any_size_and_number_is_answered(engine: Engine, size: tuple[int, int, int]) -> None:
    check(engine, noise(*size))


def test_a_batch_larger_than_the_plan_takes_several_runs(engine: Engine, world: World) -> None:
    check(engine, noise(35, 16, 32))
    assert [shape[0] for shape in world.ran] == [16, 16, 3]


def test_frames_larger_than_the_batch_profile_go_one_by_one(engine: Engine, world: World) -> None:
    check(engine, noise(2, 1200, 64))
    assert [shape[0] for shape in world.ran] == [1, 1]


def test_a_size_that_no_profile_holds_is_refused_before_tensorrt_sees_it(
    engine: Engine, world: World
) -> None:
    assert "takes up to 2176 x 3840" in str(refusal(engine, noise(1, 3856, 64)))
    assert world.ran == []
    check(engine, noise(1, 16, 32))


@pytest.mark.parametrize("lanes", [1, 3])
def test_many_sizes_from_many_threads_are_answered(
    backend: TensorRT, tiny: Bundle, lanes: int
) -> None:
    engine = backend.load(tiny, precision="fp32", lanes=lanes)
    batches = [noise(*SIZES[i % len(SIZES)], seed=i) for i in range(40)]
    with ThreadPoolExecutor(6) as callers:
        list(callers.map(lambda batch: check(engine, batch), batches))
    engine.close()


def test_the_next_batch_is_queued_while_one_is_under_way(engine: Engine) -> None:
    """Same sizes share the ring: nothing is overwritten before it was read."""
    batches = [noise(2, 16, 32, seed=i) for i in range(50)]
    futures = [engine.submit(batch) for batch in batches]
    for batch, future in zip(batches, futures, strict=True):
        np.testing.assert_allclose(future.result(timeout=20), expected(batch), rtol=1e-6)


def test_growing_sizes_one_after_the_other_share_two_buffers(engine: Engine, world: World) -> None:
    """All of one profile: nothing but our own care keeps a buffer that is in use."""
    batches = [noise(2, 16 * side, 16 * side) for side in range(1, 16)]
    futures = [engine.submit(batch) for batch in batches]
    for batch, future in zip(batches, futures, strict=True):
        np.testing.assert_allclose(future.result(timeout=20), expected(batch), rtol=1e-6)
    assert len(world.alive) == 2


def test_a_gpu_without_room_gets_half_the_batch_once_and_remembers(
    engine: Engine, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.room = 4 * 64 * 64 * 3 + 4 * 8 * 8 * 4 + 100
    check(engine, noise(8, 64, 64))
    assert [shape[0] for shape in world.ran] == [4, 4]
    assert "from now on 4 frames of this size at a time" in caplog.text
    check(engine, noise(8, 64, 64))
    assert [shape[0] for shape in world.ran] == [4, 4, 4, 4]
    check(engine, noise(8, 32, 32))  # a quarter of the pixels: eight fit
    assert world.ran[-1][0] == 8


def test_a_gpu_without_room_for_half_a_batch_refuses_it_and_goes_on(
    engine: Engine, world: World
) -> None:
    world.room = 2 * 64 * 64 * 3
    check(engine, noise(1, 48, 48))
    assert "no memory" in str(refusal(engine, noise(1, 256, 256)))
    check(engine, noise(1, 48, 48))
    assert "no memory" in str(refusal(engine, noise(8, 64, 64)))
    world.room = None
    check(engine, noise(1, 64, 64))


def test_out_of_memory_that_tensorrt_reports_halves_the_batch_too(
    engine: Engine, world: World
) -> None:
    world.report = ("FAILED_ALLOCATION", "cannot allocate")
    world.once = {"execute_async_v3"}
    check(engine, noise(8, 16, 32))
    assert [shape[0] for shape in world.ran] == [4, 4]


@pytest.mark.parametrize(
    "call",
    ["set_optimization_profile_async", "set_input_shape", "infer_shapes", "get_tensor_shape",
     "set_tensor_address", "execute_async_v3"],
)  # fmt: skip
@pytest.mark.parametrize("report", [None, ("FAILED_EXECUTION", "kernel\nfell over")])
def test_a_no_of_tensorrt_fails_that_batch_and_the_next_one_has_a_new_context(
    engine: Engine, world: World, call: str, report: tuple[str, str] | None
) -> None:
    world.report, world.once = report, {call}
    error = refusal(engine, noise(2, 16, 32))
    if report and call not in ("infer_shapes", "get_tensor_shape"):
        assert "kernel fell over" in str(error)
    check(engine, noise(2, 16, 32))
    assert world.contexts == 1  # the failed one is gone


@pytest.mark.parametrize(
    "call", ["set_optimization_profile_async", "infer_shapes", "get_tensor_shape"]
)
def test_where_the_bindings_raise_instead_the_batch_fails_all_the_same(
    engine: Engine, world: World, call: str
) -> None:
    world.raises = {call}
    world.most_contexts = 1
    error = refusal(engine, noise(2, 16, 32))
    assert "is not possible" in str(error)
    world.raises = set()
    check(engine, noise(2, 16, 32))
    assert world.contexts == 1  # the error, kept, does not keep the one that failed


def test_a_lane_that_gets_no_new_context_ends_the_engine(engine: Engine, world: World) -> None:
    world.once = {"execute_async_v3"}
    world.no = {"create_execution_context"}
    refusal(engine, noise(2, 16, 32))
    assert "no room on the GPU for a lane" in str(refusal(engine, noise(2, 16, 32)))


def test_a_lane_that_gets_no_new_context_while_it_takes_a_batch_ends_the_engine(
    engine: Engine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted, start = threading.Event(), Lane.start

    def late(lane: Lane, frames_NHW3: Frames, profile: int) -> None:
        submitted.wait(20)
        start(lane, frames_NHW3, profile)

    monkeypatch.setattr(Lane, "start", late)
    world.report, world.once = ("FAILED_EXECUTION", "fell over"), {"later"}
    world.no = {"create_execution_context"}
    futures = [engine.submit(noise(2, 16, width)) for width in (32, 48, 64)]  # one at a time
    submitted.set()
    first, *others = (str(future.exception(timeout=20)) for future in futures)
    assert "fell over" in first
    assert isinstance(engine, Ends)
    assert others == [engine.over] * 2
    assert "no room on the GPU for a lane" in others[0]


def test_a_sticky_cuda_error_ends_the_engine_and_refuses_every_later_batch(
    backend: TensorRT, tiny: Bundle, world: World
) -> None:
    engine = backend.load(tiny, precision="fp16", lanes=2)
    assert isinstance(engine, Ends)
    check(engine, noise(2, 16, 32))
    assert engine.over is None
    world.sticky = True
    for _ in range(5):
        error = refusal(engine, noise(2, 16, 32))
        assert isinstance(error, Lost)
        assert engine.over == str(error)
    world.sticky = False  # it is for good: only a new process helps
    assert "restart the process" in str(refusal(engine, noise(2, 16, 32)))
    engine.close()
    assert (world.contexts, world.engines) == (0, 0)


def test_nobody_waits_for_ever_when_the_gpu_is_lost(engine: Engine, world: World) -> None:
    futures = [engine.submit(noise(2, 16, 32)) for _ in range(30)]
    world.sticky = True
    futures += [engine.submit(noise(2, 16, 32)) for _ in range(30)]
    assert all(future.exception(timeout=20) or future.result() is not None for future in futures)


def test_closing_finishes_what_was_submitted_and_frees_all(
    backend: TensorRT, tiny: Bundle, world: World
) -> None:
    engine = backend.load(tiny, precision="fp16", lanes=2)
    batches = [noise(3, 16, 32, seed=i) for i in range(20)]
    futures = [engine.submit(batch) for batch in batches]
    engine.close()
    engine.close()
    assert all(future.done() and not future.exception() for future in futures)
    assert "was closed" in str(refusal(engine, batches[0]))
    assert (world.contexts, world.engines, world.opened) == (0, 0, 0)
    assert not [one for one in threading.enumerate() if one.name.startswith("tensorrt")]


def test_a_batch_nobody_waits_for_any_more_is_not_run(engine: Engine, world: World) -> None:
    batch = noise(16, 512, 512)
    futures = [engine.submit(batch) for _ in range(8)]
    dropped = [future for future in futures if future.cancel()]
    for future in set(futures) - set(dropped):
        future.result(timeout=20)
    check(engine, noise(1, 16, 32))
    assert dropped
    assert len(world.ran) == len(futures) - len(dropped) + 1


@pytest.mark.parametrize("call", ["Runtime", "create_execution_context", "get_tensor_dtype"])
def test_an_engine_that_cannot_start_says_so_and_frees_all(
    backend: TensorRT, tiny: Bundle, world: World, call: str
) -> None:
    world.no = {call}
    says = r"cannot start on this GPU: CUDA init|no room on the GPU|does not take uint8"
    with pytest.raises(EngineError, match=says) as refused:
        backend.load(tiny, precision="fp16", lanes=2)
    assert "\n" not in str(refused.value)
    assert (world.contexts, world.engines, world.opened) == (0, 0, 0)  # while the error is kept
    assert not [one for one in threading.enumerate() if one.name.startswith("tensorrt")]


def test_a_gpu_with_room_for_fewer_lanes_gets_those(
    backend: TensorRT, tiny: Bundle, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.most_contexts = 2
    engine = backend.load(tiny, precision="fp16", lanes=4)
    assert engine.lanes == 2
    assert "no room on the GPU for a lane" in caplog.text
    assert caplog.text.count("\n") == 1
    assert "going on with 2 of 4 lanes" in caplog.text
    for number in (1, 2, 3):
        check(engine, noise(number, 16, 32))
    engine.close()


def test_the_gpu_is_held_from_before_a_plan_is_loaded_until_after_it_is_freed(
    backend: TensorRT, tiny: Bundle, world: World
) -> None:
    for _ in range(2):
        engine = backend.load(tiny, precision="fp16", lanes=2)
        check(engine, noise(2, 16, 32))
        engine.close()
        assert (world.opened, world.orphans) == (0, 0)


@pytest.mark.parametrize(
    ("largest", "number", "size", "choice"),
    [
        (plans.LARGEST_NHW, 1, (64, 64), (0, 1)),
        (plans.LARGEST_NHW, 5, (64, 64), (1, 5)),
        (plans.LARGEST_NHW, 99, (1088, 1920), (1, 16)),
        (plans.LARGEST_NHW, 99, (1920, 1088), (0, 1)),
        (plans.LARGEST_NHW, 1, (3840, 2160), (2, 1)),
    ],
)
def test_the_profile_that_takes_most_at_once_is_chosen(
    largest: tuple[tuple[int, int, int], ...],
    number: int,
    size: tuple[int, int],
    choice: tuple[int, int],
) -> None:
    plan = Plan(None, "frames", "density", [((1, 8, 8), high) for high in largest])
    assert plan.choose(number, *size) == choice


def test_an_error_reported_while_the_gpu_ran_fails_the_batch(engine: Engine, world: World) -> None:
    world.report, world.once = ("FAILED_EXECUTION", "kernel\nfell over"), {"later"}
    assert "kernel fell over" in str(refusal(engine, noise(2, 16, 32)))
    check(engine, noise(2, 16, 32))


def test_a_batch_that_failed_in_one_run_is_not_run_to_its_end(engine: Engine, world: World) -> None:
    world.report, world.once = ("FAILED_EXECUTION", "fell over"), {"later"}
    refusal(engine, noise(64, 16, 32))
    check(engine, noise(1, 16, 32))
    assert [shape[0] for shape in world.ran] == [16, 16, 1]  # the ring, and the next


def test_a_lane_that_ends_takes_the_others_along(backend: TensorRT, tiny: Bundle) -> None:
    """Even where close() had already said so: what is left in the queue is emptied."""
    engine = cast("TensorRTEngine", backend.load(tiny, precision="fp16", lanes=3))
    engine._die(EngineError("over"), [])
    for thread in engine._threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    engine.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_our_own_leaves_nobody_waiting(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slip(*_: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(Lane, "start", slip)
    assert "lane stopped" in str(refusal(engine, noise(2, 16, 32)))
    assert "lane stopped" in str(refusal(engine, noise(2, 16, 32)))


def test_logs_of_one_line_say_what_happened(
    engine: Engine, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.report, world.once = ("FAILED_EXECUTION", "kernel\nfell over"), {"later"}
    with caplog.at_level(logging.WARNING):
        refusal(engine, noise(2, 16, 32))
        check(engine, noise(2, 16, 32))
    assert any("goes on with a new context" in record.message for record in caplog.records)
    assert not any("\n" in record.message for record in caplog.records)
