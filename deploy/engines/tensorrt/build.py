"""From ONNX to a plan: minutes of work, once a machine and model."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from deploy.engines.tensorrt import callbacks, calls
from deploy.engines.tensorrt.cuda import Gpu, plain
from deploy.engines.tensorrt.plans import Facts, write
from models.errors import EngineError
from models.machine import cores
from models.progress import progress

log = logging.getLogger(__name__)

FRAMES = "frames"  # the graph's input

OpenGpu = Callable[[], Gpu]


def build(onnx: bytes, facts: Facts, *, timings: Path, open_gpu: OpenGpu) -> bytes:
    """Minutes of work, with a progress bar. Ctrl-C ends it soon. Raises EngineError."""
    cancelled = threading.Event()
    with (
        progress(f"building a TensorRT {facts.precision} plan", total=100) as tick,
        ThreadPoolExecutor(1, thread_name_prefix="tensorrt-build") as pool,
    ):
        monitor = callbacks.monitor(lambda done, note: tick(int(100 * done), note), cancelled)
        done = pool.submit(_build, onnx, facts, timings=timings, open_gpu=open_gpu, monitor=monitor)
        try:
            plan = done.result()
            with suppress(OSError, ValueError):  # a plan is worth more than its last line
                tick(100)
            return plan
        finally:
            cancelled.set()  # an interrupt ends the wait, not yet the build


def _build(
    onnx: bytes, facts: Facts, *, timings: Path, open_gpu: OpenGpu, monitor: object
) -> bytes:
    """The GPU is held until all is freed that the building made, in this thread."""
    with open_gpu():
        try:
            return _plan(onnx, facts, timings=timings, monitor=monitor)
        except EngineError as error:
            failed = plain(error)
    raise failed


def _plan(onnx: bytes, facts: Facts, *, timings: Path, monitor: object) -> bytes:
    logger = callbacks.logger()
    with callbacks.starting():
        builder = calls.builder(logger)
    calls.set_builder_threads(builder, cores())
    network = calls.network(builder, calls.strongly_typed())
    parser = calls.parser(network, logger)
    if not calls.parse(parser, onnx):
        raise EngineError(f"TensorRT cannot read the model: {_parse_errors(parser)}")
    config = _config(builder, facts)
    cache = _attach(config, timings)
    calls.watch(config, monitor)
    memory = calls.build(builder, network, config)
    if memory is None:
        raise EngineError(f"TensorRT built no plan: {logger.tail()}")
    plan = bytes(memory)
    if cache is not None:
        _keep_timings(timings, config)
    return plan


def _keep_timings(timings: Path, config: Any) -> None:
    """They save minutes, and nothing depends on them."""
    memory = calls.serialize_timing_cache(calls.attached_timing_cache(config))
    try:
        write(timings, bytes(memory))
    except OSError as error:
        # Its text only: a log that kept the error would keep the builder.
        log.warning("the timing cache cannot be kept: %s", str(error))


def _config(builder: Any, facts: Facts) -> Any:
    config = calls.config(builder)
    calls.limit_workspace(config, facts.workspace_bytes)
    calls.set_effort(config, facts.effort)
    calls.keep_to_one_stream(config)
    if facts.precision == "fp32":
        calls.forbid_tf32(config)
    for one in facts.profiles:
        profile = calls.profile(builder)
        try:
            calls.set_range(profile, FRAMES, *((*nhw, 3) for nhw in (one.low, one.best, one.high)))
        except RuntimeError as error:
            raise EngineError(f"TensorRT refused {one}: {error}") from error
        if calls.add_profile(config, profile) < 0:
            raise EngineError(f"TensorRT refused {one}: {callbacks.logger().tail()}")
    return config


def _attach(config: Any, timings: Path) -> Any:
    """The timing cache, which makes the next build quicker; None where it is of no use."""
    try:
        old = timings.read_bytes()
    except OSError:
        old = b""
    cache = calls.timing_cache(config, old)
    if cache is None or not calls.attach_timing_cache(config, cache):
        log.warning("the timing cache %s does not fit here: building without it", timings)
        with suppress(OSError):
            timings.unlink()
        return None
    return cache


def _parse_errors(parser: Any) -> str:
    texts = []
    for index in range(calls.parse_error_count(parser)):
        error = calls.parse_error(parser, index)
        where = f"{calls.error_operator(error)} {calls.error_node(error)}"
        texts.append(f"{where}: {' '.join(calls.error_text(error).split())}")
    return "; ".join(texts) or callbacks.logger().tail()
