"""What TensorRT calls back: our log, error recorder and progress monitor.

TensorRT calls them from several threads and must never see them raise. The classes are made on
demand, for their bases come from the framework; each calls its base's `__init__`, without which
the bindings refuse it at first use.
"""

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.errors import EngineError

log = logging.getLogger(__name__)

LINES_KEPT = 4
TOP_SHARE = 0.9


@functools.cache
def logger() -> Any:
    """One for the whole process: TensorRT ignores a second one. `tail()` gives its last lines."""
    import tensorrt as trt

    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.Severity.ERROR: logging.ERROR,
        trt.ILogger.Severity.WARNING: logging.WARNING,
        trt.ILogger.Severity.INFO: logging.DEBUG,
        trt.ILogger.Severity.VERBOSE: logging.DEBUG - 1,
    }

    class Log(trt.ILogger):  # type: ignore[misc]  # the bindings have no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._lines: deque[str] = deque(maxlen=LINES_KEPT)

        def log(self, severity: Any, msg: str) -> None:
            level = levels.get(severity, logging.WARNING)
            if level >= logging.WARNING:
                self._lines.append(" ".join(msg.split()))
            log.log(level, "%s", msg)

        def tail(self) -> str:
            """The last errors and warnings, in one line, and forgets them."""
            lines = list(self._lines)
            self._lines.clear()
            return "; ".join(lines) or "TensorRT gave no reason"

    return Log()


@contextmanager
def starting() -> Iterator[None]:
    """Around what makes a builder or a runtime. TensorRT gives none where the driver is too old,
    of which the bindings make a TypeError. Raises EngineError.
    """
    logger().tail()
    try:
        yield
    except TypeError as error:
        raise EngineError(f"TensorRT cannot start on this GPU: {logger().tail()}") from error


def recorder() -> Any:
    """Collects errors. `take()` gives (out of memory?, text) of what came since, or None."""
    import tensorrt as trt

    class Recorder(trt.IErrorRecorder):  # type: ignore[misc]  # the bindings have no types
        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)
            self._errors: list[tuple[Any, str]] = []

        def clear(self) -> None:
            self._errors = []

        def report_error(self, code: Any, desc: str) -> bool:
            self._errors.append((code, desc))
            return False  # TensorRT may go on; we look after every call

        def num_errors(self) -> int:
            return len(self._errors)

        def get_num_errors(self) -> int:
            """The name that the bindings look up, in every version."""
            return len(self._errors)

        def get_error_code(self, index: int) -> Any:
            return self._errors[index][0]

        def get_error_desc(self, index: int) -> str:
            return self._errors[index][1]

        def has_overflowed(self) -> bool:
            return False

        def take(self) -> tuple[bool, str] | None:
            errors, self._errors = self._errors, []
            return _summary(errors, no_memory=trt.ErrorCodeTRT.FAILED_ALLOCATION)

    return Recorder()


def _summary(errors: Sequence[tuple[Any, str]], *, no_memory: Any) -> tuple[bool, str] | None:
    if not errors:
        return None
    text = "; ".join(" ".join(desc.split()) for _, desc in errors[-LINES_KEPT:])
    return any(code == no_memory for code, _ in errors), text


def monitor(tick: Callable[[float, str], None], cancelled: threading.Event) -> Any:
    """Tells `tick` how far a build is (0 to 1, never falling) and what it does; may cancel it.

    A `tick` that raises (a closed terminal) is told no more, and the build goes on.
    """
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the bindings have no types
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases = Phases()
            self._lock = threading.Lock()
            self._heard = True

        def _tell(self, note: str) -> None:
            if not self._heard:
                return
            try:
                tick(self._phases.done(), note)
            except Exception as error:  # noqa: BLE001  # from here it would cancel the build
                self._heard = False
                log.warning("the build's progress cannot be shown: %s", str(error))

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._phases.start(phase_name, parent_phase, num_steps)
                self._tell(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                self._phases.step(phase_name, step)
                self._tell(phase_name)
            return not cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._phases.finish(phase_name)
                self._tell(phase_name)

    return Monitor()


@dataclass
class _Phase:
    parent: str | None
    steps: int
    taken: int = 0


class Phases:
    """How much of nested phases is done. How many top phases come is unknown: each is given nine
    tenths of what the ones before it left.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Phase] = {}
        self._closed = 0.0  # of the whole, by top phases that are finished
        self._best = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self._open[name] = _Phase(parent if parent in self._open else None, max(1, steps))

    def step(self, name: str, number: int) -> None:
        if name in self._open:
            self._open[name].taken = max(self._open[name].taken, number + 1)

    def finish(self, name: str) -> None:
        gone = self._open.pop(name, None)
        if gone is None:
            return
        for inner in [one for one, phase in self._open.items() if phase.parent == name]:
            self._open.pop(inner)
        if gone.parent is None:
            self._closed += (1 - self._closed) * TOP_SHARE

    def done(self) -> float:
        """From 0 towards 1, and never less than before."""
        top = [name for name, phase in self._open.items() if phase.parent is None]
        share = max((self._share(name) for name in top), default=0.0)
        self._best = max(self._best, self._closed + (1 - self._closed) * TOP_SHARE * share)
        return self._best

    def _share(self, name: str) -> float:
        phase = self._open[name]
        inner = [one for one, other in self._open.items() if other.parent == name]
        part = max((self._share(one) for one in inner), default=0.0)
        return min(1.0, (phase.taken + part) / phase.steps)
