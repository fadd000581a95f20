"""Engines run a bundle. Each file holds `backend: Backend` and imports its framework on demand.

Shapes: N frames, H x W pixels, h x w cells.
"""

import importlib.util
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deploy.budget import unproven
from deploy.bundle import Bundle, InputRule
from models.errors import EngineError, ParityError
from models.plugins import Plugins

log = logging.getLogger(__name__)

Frames = NDArray[np.uint8]
Maps = NDArray[np.float32]
Precision = Literal["auto", "fp32", "fp16", "bf16", "int8"]
"""How an engine computes. int8 runs `model.int8.onnx`, so only a bundle that has one can; the rest
of such a graph, and which precision is the fastest, are the engine's choice."""

AUTO = ("tensorrt", "torch-cuda", "openvino", "onnxruntime")
"""The order in which `auto` looks for an engine: the fastest hardware first."""
BY_NAME = ("torch-cpu",)
"""Engines that `auto` never takes: others are always faster on the same hardware."""


class Engine(Protocol):
    """A loaded bundle. Frames of any size that keeps the bundle's input rule, up to 4K at least."""

    name: str
    precision: str
    lanes: int  # batches that may be under way at once
    batch: int  # frames a batch that this engine likes best

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        """Start a batch of uint8 RGB frames; the result is (N, h, w) people per cell, float32.

        The frames must not change until the result is there. Errors come out of the future as
        EngineError.
        """
        ...

    def close(self) -> None:
        """Finish what is under way and free everything. Nothing may be submitted afterwards."""
        ...


@runtime_checkable
class Ends(Protocol):
    """An engine that may end before it is closed, as after a sticky error of its GPU."""

    @property
    def over(self) -> str | None:
        """Why every batch is refused from now on, or None."""
        ...


class Backend(Protocol):
    def unavailable(self) -> str | None:
        """Why this engine cannot run here, or None where it can."""
        ...

    def precisions(self, bundle: Bundle) -> list[Precision]:
        """What this machine can run that bundle in, from the slowest to the fastest: `auto` is the
        last. Asked only where the engine is available."""
        ...

    def load(self, bundle: Bundle, *, precision: Precision, lanes: int | None = None) -> Engine:
        """Raises EngineError, in one line."""
        ...


@runtime_checkable
class Builds(Protocol):
    """A backend that can make what it loads ahead of time, on the machine that will serve."""

    def build(self, bundle: Bundle, *, precision: Precision) -> Path:
        """Build anew, where the engine will look for it. Raises EngineError."""
        ...


BACKENDS: Plugins[Backend] = Plugins("deploy.engines", "backend")


def missing(*packages: str, extra: str) -> str | None:
    """Why an engine cannot run here: the first of the packages that is not installed, if any."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed (pip install 'throng[{extra}]')"
    return None


def check_frames(frames_NHW3: Frames, rule: InputRule) -> None:
    """Raises EngineError for frames that break the input rule: some nets would miscount them."""
    shape = frames_NHW3.shape
    fits = len(shape) == 4 and shape[3] == 3 and min(shape) > 0
    if not fits or shape[1] % rule.multiple or shape[2] % rule.multiple:
        want = f"(N, H, W, 3) with H and W multiples of {rule.multiple}"
        raise EngineError(f"frames are {shape}, wanted {want}: pad them")
    if frames_NHW3.dtype != np.uint8:
        raise EngineError(f"frames are {frames_NHW3.dtype}, wanted uint8 RGB")


def chosen(precision: Precision, can: Sequence[Precision], *, bundle: Bundle, engine: str) -> str:
    """`auto` is the last of what can run here. Raises EngineError for one that cannot."""
    if precision == "auto":
        return can[-1]
    if precision not in can:
        raise EngineError(
            f"{engine} runs bundle {bundle.name} here in {', '.join(can)}, not in {precision}: "
            "set precision to auto or one of these"
        )
    return precision


def proven(bundle: Bundle, name: str, precision: Precision = "auto") -> Precision:
    """That precision, or the fastest, in which the engine counts like the net by the manifest.

    `auto` passes over others with one warning. Raises ParityError where none is left, EngineError
    for a precision that cannot run here.
    """
    can = BACKENDS[name].precisions(bundle)
    chosen(precision, can, bundle=bundle, engine=name)
    reasons: list[str] = []
    for one in can[::-1] if precision == "auto" else [precision]:
        reason = unproven(bundle, name, one)
        if reason is None:
            if reasons:
                log.warning(
                    "%s runs bundle %s in %s, %s", name, bundle.name, one, "; ".join(reasons)
                )
            return one
        reasons.append(f"not in {one}: {reason}")
    raise ParityError(f"{name} may not run bundle {bundle.name}, {'; '.join(reasons)}")


def load_engine(
    bundle: Bundle, *, name: str = "auto", precision: Precision = "auto", lanes: int | None = None
) -> Engine:
    """The engine of that name, or the first of `AUTO` that can run here, where its parity holds.

    Raises EngineError with every engine's reason where none can, ParityError by `proven`.
    """
    names = [one for one in AUTO if one in BACKENDS.names()] if name == "auto" else [name]
    reasons = []
    for one in names:
        backend = BACKENDS[one]
        reason = backend.unavailable()
        if reason is None:
            return backend.load(bundle, precision=proven(bundle, one, precision), lanes=lanes)
        reasons.append(f"{one}: {reason}")
    raise EngineError(f"no engine can run here ({'; '.join(reasons)})")
