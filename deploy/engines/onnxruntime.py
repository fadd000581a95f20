"""ONNX Runtime on the CPU: one session that takes any size, run by as many threads as lanes.

A session may be run by several threads at once. Each run stays on the thread that asked for it,
so `lanes` is the number of cores in use, and nothing spins while it waits.

int8 runs, but `auto` never takes it: in our graphs (symmetric, no rounding between a convolution
and its ReLU) ONNX Runtime 1.31 finds no int8 convolution to fuse, and computes in fp32 between
conversions, slower than the fp32 graph. It is a second opinion on such a file.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from deploy.bundle import Bundle
from deploy.engines import Backend, Engine, Frames, Maps, Precision, check_frames, chosen, missing
from models.errors import EngineError
from models.machine import cores

ERRORS = (
    "EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel",
    "NotImplemented", "RuntimeException",
)  # fmt: skip
"""What ONNX Runtime raises; these have no base class of their own but Exception."""


class OnnxRuntimeEngine:
    name = "onnxruntime"
    batch = 1

    def __init__(self, bundle: Bundle, *, precision: Precision, lanes: int) -> None:
        self.precision = chosen(precision, precisions_of(bundle), bundle=bundle, engine=self.name)
        self.lanes = lanes
        self._rule = bundle.manifest.input
        self._errors = _errors()
        try:
            self._session = _session(bundle, self.precision)
        except self._errors as error:
            raise EngineError(
                f"ONNX Runtime cannot load bundle {bundle.name}: {_line(error)}"
            ) from error
        self._feed = self._session.get_inputs()[0].name
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="onnxruntime")

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        return self._pool.submit(self._infer, frames_NHW3)

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._session = None

    def _infer(self, frames_NHW3: Frames) -> Maps:
        check_frames(frames_NHW3, self._rule)
        try:
            maps: Maps = self._session.run(None, {self._feed: np.ascontiguousarray(frames_NHW3)})[0]
        except self._errors as error:
            raise EngineError(
                f"ONNX Runtime failed on {frames_NHW3.shape}: {_line(error)}"
            ) from error
        return maps


class OnnxRuntime:
    def unavailable(self) -> str | None:
        return missing("onnxruntime", extra="onnxruntime")

    def precisions(self, bundle: Bundle) -> list[Precision]:
        return precisions_of(bundle)

    def load(self, bundle: Bundle, *, precision: Precision, lanes: int | None = None) -> Engine:
        return OnnxRuntimeEngine(bundle, precision=precision, lanes=lanes or cores())


def precisions_of(bundle: Bundle) -> list[Precision]:
    """The slower first."""
    return ["int8", "fp32"] if "int8" in bundle.manifest.precisions else ["fp32"]


def _session(bundle: Bundle, precision: str) -> Any:
    import onnxruntime  # the framework is imported by who asks for it

    path = bundle.model(precision)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong comes as an error
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Weights outside the file have no hash in the manifest: none are found below a plain file.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(path)
    )
    return onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )


def _errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(getattr(state, name) for name in ERRORS)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or "unknown error"


backend: Backend = OnnxRuntime()
