"""OpenVINO on the CPU: one static graph a size, as many one-thread streams as cores, batch 1.

Two one-thread streams beat one two-thread stream by a tenth to a quarter, and batching gains nothing
once the streams are full. Thread pinning is off: decoders share the cores.
"""

import importlib.util
import os
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from deploy.bundle import Bundle
from deploy.engines import Backend, Engine, Frames, Maps, Precision
from models.errors import EngineError

SIZES_KEPT = 24  # compiled graphs; the least recently used goes first


class OpenVinoEngine:
    """Requests run on `lanes` threads of our own, each with its own infer request a size."""

    name = "openvino"
    batch = 1

    def __init__(self, bundle: Bundle, *, precision: Precision, lanes: int) -> None:
        import openvino  # the framework is imported by who asks for it

        self._openvino = openvino
        self._core = openvino.Core()
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.precision = ("bf16" if has_bf16 else "fp32") if precision == "auto" else precision
        if self.precision == "bf16" and not has_bf16:
            raise EngineError("this processor has no bf16: set precision to auto or fp32")
        self.lanes = lanes
        try:
            self._model = self._core.read_model(bundle.model("fp32"))
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot read bundle {bundle.name}: {_line(error)}") from error
        self._graphs: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._compiling = threading.Lock()
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="openvino")

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        return self._pool.submit(self._infer, frames_NHW3)

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._graphs.clear()

    def _infer(self, frames_NHW3: Frames) -> Maps:
        try:
            request = self._request(frames_NHW3.shape)
            request.infer([np.ascontiguousarray(frames_NHW3)], share_inputs=True)
            return np.array(request.get_output_tensor(0).data, dtype=np.float32)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on {frames_NHW3.shape}: {_line(error)}") from error

    def _request(self, shape: tuple[int, ...]) -> Any:
        """This thread's request for a shape. A graph that was dropped takes its requests along."""
        graph = self._graph(shape)
        own = self._own.__dict__.setdefault("requests", {})
        if own.get(shape, (None,))[0] is not graph:
            for gone in own.keys() - self._graphs.keys():
                del own[gone]
            own[shape] = (graph, graph.create_infer_request())
        return own[shape][1]

    def _graph(self, shape: tuple[int, ...]) -> Any:
        with self._compiling:
            if shape not in self._graphs:
                model = self._model.clone()
                model.reshape(list(shape))
                self._graphs[shape] = self._core.compile_model(model, "CPU", self._options())
                if len(self._graphs) > SIZES_KEPT:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(shape)
            return self._graphs[shape]

    def _options(self) -> dict[str, Any]:
        return {
            "NUM_STREAMS": str(self.lanes),
            "INFERENCE_NUM_THREADS": self.lanes,
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[self.precision],
            "ENABLE_CPU_PINNING": False,
        }


class OpenVino:
    def unavailable(self) -> str | None:
        if importlib.util.find_spec("openvino") is None:
            return "the package openvino is not installed (pip install 'throng[openvino]')"
        return None

    def load(self, bundle: Bundle, *, precision: Precision, lanes: int | None = None) -> Engine:
        cores = len(os.sched_getaffinity(0))
        return OpenVinoEngine(bundle, precision=precision, lanes=lanes or cores)


def _line(error: Exception) -> str:
    """The first line that says something: OpenVINO's messages start with where they were thrown."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception from")), "unknown error")


backend: Backend = OpenVino()
