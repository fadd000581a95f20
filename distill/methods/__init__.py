"""Methods: what a student is taught with. Each file holds `method(**arguments) -> Method`.

Shapes: N crops, H x W pixels, h x w cells.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from models.nets import CountingNet
from models.plugins import Plugins


@dataclass(frozen=True)
class Batch:
    """What a step sees: normalised frames and two targets on the student's cells."""

    frames_N3HW: Tensor
    heads_N1hw: Tensor  # whole heads in the cells they lie in
    density_N1hw: Tensor  # the same heads, smoothed


class Method(Protocol):
    def terms(
        self, batch: Batch, *, student: CountingNet, teachers: Mapping[str, CountingNet]
    ) -> dict[str, Tensor]:
        """Named scalar losses; the loop adds them up and logs each."""
        ...


METHODS: Plugins[Callable[..., Method]] = Plugins("distill.methods", "method")
