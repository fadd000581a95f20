"""OpenVINO on the CPU: one static graph a size, as many one-thread streams as cores, batch 1.

Two one-thread streams beat one two-thread stream by a tenth to a quarter, and batching gains
nothing once the streams are full. Thread pinning is off: decoders share the cores.
"""

import importlib.util
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bundle import Bundle
from deploy.engines import Backend, Engine, Frames, Maps, Precision, check_frames, chosen
from models.errors import EngineError

SIZES_KEPT = 8  # compiled graphs; the least recently used goes first


class OpenVinoEngine:
    """Requests run on `lanes` threads of our own, each with its own infer request a size."""

    name = "openvino"
    batch = 1

    def __init__(self, bundle: Bundle, *, precision: Precision, lanes: int) -> None:
        import openvino  # the framework is imported by who asks for it

        # Its tables of types are built at first use, and two threads that come first at the same
        # moment wait for each other for ever, the interpreter's lock in hand: build them here.
        openvino.Tensor(np.zeros(1, openvino.Type.u8.to_dtype()), shared_memory=True)
        self._core = openvino.Core()
        can = precisions_of(self._core, bundle)
        self.precision = chosen(precision, can, bundle=bundle, engine=self.name)
        self._options = options_of(self._core, precision=self.precision, lanes=lanes)
        self.lanes = lanes
        self._rule = bundle.manifest.input
        try:
            self._model = self._core.read_model(model_of(bundle, self.precision))
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot read bundle {bundle.name}: {_line(error)}"
            ) from error
        self._graphs: OrderedDict[tuple[int, ...], _Graph] = OrderedDict()
        self._choosing = threading.Lock()
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="openvino")

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        return self._pool.submit(self._infer, frames_NHW3)

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._graphs.clear()

    def _infer(self, frames_NHW3: Frames) -> Maps:
        check_frames(frames_NHW3, self._rule)
        try:
            request = self._request(frames_NHW3.shape)
            request.infer([np.ascontiguousarray(frames_NHW3)], share_inputs=True)
            return np.array(request.get_output_tensor(0).data, dtype=np.float32)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on {frames_NHW3.shape}: {_line(error)}") from error

    def _request(self, shape: tuple[int, ...]) -> Any:
        """This thread's request for a shape. A graph that was dropped takes its requests along."""
        with self._choosing:
            graph = self._graphs.setdefault(shape, _Graph(self._compile))
            self._graphs.move_to_end(shape)
            if len(self._graphs) > SIZES_KEPT:
                self._graphs.popitem(last=False)
            kept = set(self._graphs.values())
        own: dict[_Graph, Any] = self._own.__dict__.setdefault("requests", {})
        for gone in own.keys() - kept:
            del own[gone]
        if graph not in own:
            own[graph] = graph.compiled(shape).create_infer_request()
        return own[graph]

    def _compile(self, shape: tuple[int, ...]) -> Any:
        model = self._model.clone()
        model.reshape(list(shape))
        return self._core.compile_model(model, "CPU", self._options)


class _Graph:
    """Compiled once, by the first thread that needs it; other sizes go on meanwhile."""

    def __init__(self, build: Callable[[tuple[int, ...]], Any]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._compiled: Any = None

    def compiled(self, shape: tuple[int, ...]) -> Any:
        with self._lock:
            if self._compiled is None:
                self._compiled = self._build(shape)
            return self._compiled


class OpenVino:
    def unavailable(self) -> str | None:
        if importlib.util.find_spec("openvino") is None:
            return "the package openvino is not installed (pip install 'throng[openvino]')"
        return None

    def precisions(self, bundle: Bundle) -> list[Precision]:
        import openvino

        return precisions_of(openvino.Core(), bundle)

    def load(self, bundle: Bundle, *, precision: Precision, lanes: int | None = None) -> Engine:
        cores = len(os.sched_getaffinity(0))
        return OpenVinoEngine(bundle, precision=precision, lanes=lanes or cores)


def precisions_of(core: Any, bundle: Bundle) -> list[Precision]:
    """What the processor can run the bundle in, the fastest last."""
    can: list[Precision] = ["fp32"]
    if _has_bf16(core):
        can.append("bf16")
    if "int8" in bundle.manifest.precisions:
        can.append("int8")
    return can


def options_of(core: Any, *, precision: str, lanes: int) -> dict[str, Any]:
    """How a graph is compiled: bf16 for all that is not int8, where the processor has it."""
    coarse = precision != "fp32" and _has_bf16(core)
    return {
        "NUM_STREAMS": str(lanes),
        "INFERENCE_NUM_THREADS": lanes,
        "INFERENCE_PRECISION_HINT": "bf16" if coarse else "f32",
        "ENABLE_CPU_PINNING": False,
    }


def model_of(bundle: Bundle, precision: str) -> Path:
    """bf16 is a hint to the fp32 graph; int8 is a graph of its own."""
    return bundle.model("int8" if precision == "int8" else "fp32")


def _has_bf16(core: Any) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _line(error: Exception) -> str:
    """The first line that says something: OpenVINO's messages start with where they were thrown."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception from")), "unknown error")


backend: Backend = OpenVino()
