"""TensorRT on an NVIDIA GPU: a plan a precision, kept for the next start; contexts on threads.

Nobody of this project has run it on a GPU yet: what is proven, and by what, says
`tests/deploy/tensorrt/README.md`.
"""

import importlib
from functools import partial
from pathlib import Path

from deploy.bundle import Bundle, digest_of
from deploy.engines import Backend, Engine, Precision, chosen, missing
from deploy.engines.tensorrt import build, calls, cuda, graph, plans
from deploy.engines.tensorrt.lane import PlanRefused
from deploy.engines.tensorrt.run import TensorRTEngine
from models.errors import EngineError

FOLDER = Path("~/.cache/throng/tensorrt")
LANES = 2  # one computes while the other copies
PACKAGES = ("tensorrt", "onnx")


class TensorRT:
    def __init__(
        self,
        *,
        folder: Path = FOLDER,
        workspace_bytes: int = plans.WORKSPACE_BYTES,
        open_gpu: build.OpenGpu | None = None,
    ) -> None:
        self._folder = folder
        self._workspace_bytes = workspace_bytes
        self._open_gpu = open_gpu or cuda.PyCuda

    def unavailable(self) -> str | None:
        if reason := missing(*PACKAGES, extra="tensorrt"):
            return f"{reason}; it needs an NVIDIA GPU"
        try:
            importlib.import_module("tensorrt")
        except (ImportError, OSError, RuntimeError) as error:
            return f"TensorRT needs an NVIDIA GPU and its libraries: {_line(error)}"
        return cuda.no_gpu()

    def precisions(self, bundle: Bundle) -> list[Precision]:
        return (
            ["fp32", "fp16", "int8"] if "int8" in bundle.manifest.precisions else ["fp32", "fp16"]
        )

    def build(self, bundle: Bundle, *, precision: Precision) -> Path:
        """Build a plan ahead, whether or not there is one. Raises EngineError."""
        kept = plans.Plans(self._folder.expanduser())
        facts = self._facts(bundle, precision)
        return kept.keep(bundle.name, facts, self._built(bundle, facts, kept))

    def load(self, bundle: Bundle, *, precision: Precision, lanes: int | None = None) -> Engine:
        """Takes minutes the first time: it builds the plan."""
        reason = self.unavailable()
        if reason is not None:
            raise EngineError(f"tensorrt cannot run here: {reason}")
        kept = plans.Plans(self._folder.expanduser())
        facts = self._facts(bundle, precision)
        plan = kept.find(bundle.name, facts)
        run = partial(
            TensorRTEngine,
            rule=bundle.manifest.input,
            precision=facts.precision,
            lanes=lanes or LANES,
            open_gpu=self._open_gpu,
        )
        if plan is not None:
            try:
                return run(plan)
            except PlanRefused as error:
                plans.log.warning("%s: building it again", error)
        plan = self._built(bundle, facts, kept)
        try:
            kept.keep(bundle.name, facts, plan)
        except EngineError as error:
            plans.log.warning("%s: the next start builds it again", error)
        return run(plan)

    def _built(self, bundle: Bundle, facts: plans.Facts, kept: plans.Plans) -> bytes:
        onnx = graph.prepared(source_of(bundle, facts.precision), half=facts.precision == "fp16")
        return build.build(onnx, facts, timings=kept.timings(facts), open_gpu=self._open_gpu)

    def _facts(self, bundle: Bundle, precision: Precision) -> plans.Facts:
        exact = chosen(
            precision, self.precisions(bundle), bundle=bundle, engine=TensorRTEngine.name
        )
        card = cuda.card()
        multiple = bundle.manifest.input.multiple
        return plans.Facts(
            onnx=digest_of(source_of(bundle, exact)),
            precision=exact,
            tensorrt=calls.version(),
            gpu=f"{card.name} ({card.capability})",
            driver=card.driver,
            profiles=plans.profiles(multiple),
            workspace_bytes=self._workspace_bytes,
        )


def source_of(bundle: Bundle, precision: str) -> Path:
    """The ONNX to build from: fp16 is made from fp32."""
    return bundle.model("fp32" if precision == "fp16" else precision)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


backend: Backend = TensorRT()
