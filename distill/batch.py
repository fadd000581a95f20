"""What a step sees: crops with their targets, and what teachers say of them.

Shapes: N crops, H x W pixels, h x w cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from models.nets import Look

Lessons = Mapping[str, Look]
"""What each teacher, by its role, says of the frames of a batch. It carries no gradient, and has no
hints where it comes from a bank."""


@dataclass(frozen=True)
class Batch:
    """Normalised frames and two targets on the student's cells.

    A crop that is not labelled has no heads in its targets: they say nothing about it.
    """

    frames_N3HW: Tensor
    heads_N1hw: Tensor  # whole heads in the cells they lie in
    density_N1hw: Tensor  # the same heads, smoothed
    points: Sequence[Tensor]  # the same heads once more: a P x 2 tensor a crop, x and y in pixels
    labelled_N: Tensor  # bool
    seed: tuple[int, ...] = (0,)  # what chance has in the views that a method takes of it
