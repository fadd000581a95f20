"""OpenVINO on the CPU: one static graph a size, as many one-thread streams as cores, batch 1.

Two one-thread streams beat one two-thread stream by a tenth to a quarter, and batching gains
nothing once the streams are full. Thread pinning is off: decoders share the cores.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from deploy.bundle import Bundle
from deploy.engines import Backend, Engine, Frames, Maps, Precision, check_frames, chosen, missing
from deploy.engines._openvino_graph import keep_head_in_fp32, sum_in_convolutions
from models.errors import EngineError
from models.machine import cores, int8_is_exact

LOG = logging.getLogger(__name__)

PLACES = 32.0  # for compiled graphs; of throng-m, a place is 14 MB in int8 and about 40 in fp32
PLACE_PX = 768 * 432
OFTEN = 1000  # uses after which those of all graphs count half: what was used once may go
THRASHING = 20  # graphs compiled again: each costs as long as twenty frames and more

Shape = tuple[int, ...]


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
            self._model = read(self._core, bundle, precision=self.precision)
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot read bundle {bundle.name}: {_line(error)}"
            ) from error
        self._graphs: dict[Shape, _Graph] = {}
        self._dropped: deque[Shape] = deque(maxlen=100)
        self._again = 0  # graphs that were compiled once more
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

    def _request(self, shape: Shape) -> Any:
        """This thread's request for a shape. A graph that was dropped takes its requests along."""
        with self._choosing:
            if shape not in self._graphs:
                self._make_room(shape)
            graph = self._graphs[shape]
            graph.uses += 1
            if graph.uses > OFTEN:
                for one in self._graphs.values():
                    one.uses //= 2
            kept = set(self._graphs.values())
        own: dict[_Graph, Any] = self._own.__dict__.setdefault("requests", {})
        for gone in own.keys() - kept:
            del own[gone]
        if graph not in own:
            own[graph] = graph.compiled(shape).create_infer_request()
        return own[graph]

    def _make_room(self, shape: Shape) -> None:
        """The least used graph goes first, of equals the newest: the rest stays, also where sizes
        come in turn and are one too many, and where pictures of all sizes are posted."""
        while self._graphs and sum(map(_places, (*self._graphs, shape))) > PLACES:
            seldom = min(reversed(self._graphs), key=lambda one: self._graphs[one].uses)
            del self._graphs[seldom]
            self._dropped.append(seldom)
        self._graphs[shape] = _Graph(self._compile)
        again = shape in self._dropped
        self._again += again
        if again and self._again == THRASHING:
            LOG.warning(
                "frames come in more sizes than graphs are kept of (%d now), and graphs are "
                "compiled again and again: give cameras fewer sizes",
                len(self._graphs),
            )

    def _compile(self, shape: Shape) -> Any:
        model = self._model.clone()
        model.reshape(list(shape))
        return self._core.compile_model(model, "CPU", self._options)


class _Graph:
    """Compiled once, by the first thread that needs it; other sizes go on meanwhile."""

    def __init__(self, build: Callable[[Shape], Any]) -> None:
        self._build = build
        self.uses = 0
        self._lock = threading.Lock()
        self._compiled: Any = None

    def compiled(self, shape: Shape) -> Any:
        with self._lock:
            if self._compiled is None:
                self._compiled = self._build(shape)
            return self._compiled


class OpenVino:
    def unavailable(self) -> str | None:
        return missing("openvino", extra="openvino")

    def precisions(self, bundle: Bundle) -> list[Precision]:
        import openvino

        return precisions_of(openvino.Core(), bundle)

    def load(self, bundle: Bundle, *, precision: Precision, lanes: int | None = None) -> Engine:
        return OpenVinoEngine(bundle, precision=precision, lanes=lanes or cores())


def precisions_of(core: Any, bundle: Bundle) -> list[Precision]:
    """What the processor can run the bundle in and count rightly, the fastest last."""
    can: list[Precision] = ["fp32"]
    if _has_bf16(core):
        can.append("bf16")
    if "int8" in bundle.manifest.precisions and int8_is_exact():
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


def _places(shape: Shape) -> float:
    """What a graph takes whatever its size, and as much again for each 768 x 432 pixels.

    None counts for more than half of all, or it would drive out every other.
    """
    number, height, width, _ = shape
    return min(1 + number * height * width / PLACE_PX, PLACES / 2)


def read(core: Any, bundle: Bundle, *, precision: str) -> Any:
    """The graph of a precision: bf16 is a hint to that of fp32, int8 has one of its own."""
    model = core.read_model(bundle.model("int8" if precision == "int8" else "fp32"))
    if precision == "bf16":
        keep_head_in_fp32(model)
    if precision == "int8":
        sum_in_convolutions(model)
    return model


def _has_bf16(core: Any) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _line(error: Exception) -> str:
    """The first line that says something: OpenVINO's messages start with where they were thrown."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception from")), "unknown error")


backend: Backend = OpenVino()
