"""Run by `bindings.ask`: our call-backs, called as TensorRT calls them, through C++."""

import logging
import threading
from typing import Any

from deploy.engines.tensorrt import callbacks
from tests.deploy.tensorrt.bindings import answer


def work(_: object) -> dict[str, Any]:
    return {"log": log(), "recorder": recorder(), "monitor": monitor(), "raising": raising()}


def log() -> list[str]:
    import tensorrt as trt

    logging.disable()
    ours = callbacks.logger()
    for severity in trt.ILogger.Severity.__members__.values():
        trt.ILogger.log(ours, severity, f"a {severity.name.lower()}\nof two lines")
    return [ours.tail(), ours.tail()]


def recorder() -> list[Any]:
    import tensorrt as trt

    ours, base = callbacks.recorder(), trt.IErrorRecorder
    empty = base.num_errors(ours)
    said = base.report_error(ours, trt.ErrorCodeTRT.FAILED_ALLOCATION, "no\nroom")
    first = [base.get_error_code(ours, 0).name, base.get_error_desc(ours, 0)]
    state = [empty, said, base.num_errors(ours), *first, base.has_overflowed(ours), ours.take()]
    base.report_error(ours, trt.ErrorCodeTRT.INVALID_STATE, "odd")
    return [*state, ours.take(), base.num_errors(ours), base.clear(ours)]


def monitor() -> list[Any]:
    import tensorrt as trt

    seen: list[float] = []
    cancelled = threading.Event()
    ours = callbacks.monitor(lambda done, _note: seen.append(done), cancelled)
    base = trt.IProgressMonitor
    base.phase_start(ours, "build", None, 2)
    base.phase_start(ours, "inner", "build", 4)
    goes_on = base.step_complete(ours, "inner", 0)
    base.phase_finish(ours, "inner")
    cancelled.set()
    stops = base.step_complete(ours, "build", 0)
    base.phase_finish(ours, "build")
    return [goes_on, stops, seen == sorted(seen), len(seen)]


def raising() -> bool:
    """A tick that fails, as on a closed terminal: does the build go on?"""
    import tensorrt as trt

    def fail(_done: float, _note: str) -> None:
        raise ValueError("closed")

    ours, base = callbacks.monitor(fail, threading.Event()), trt.IProgressMonitor
    base.phase_start(ours, "build", None, 1)
    goes_on: bool = base.step_complete(ours, "build", 0)
    base.phase_finish(ours, "build")
    return goes_on


if __name__ == "__main__":
    answer(work)
