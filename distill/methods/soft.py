"""The teacher's density map as a second target: what a student may learn without any label.

The plainest of the methods, and the row "soft" beside which SKT must show its worth. A loss of the
student's own against head points goes with it wherever a crop has labels.
"""

import torch
from torch import Tensor

from distill.batch import Batch, Lessons
from distill.losses import LOSSES, over_labelled
from distill.losses.chi import pooled_chi, squared
from distill.methods import Method
from models.nets import CountingNet


class Soft(Method):
    """The teacher's map, taken as zero where it is negative, stands in for the heads in the terms
    of the chi loss. `counts=0` leaves the squared error of the cells alone, the usual soft target.

    Of several teachers it is the mean map, and where they disagree the student's own stands in for
    a part of it, so that an error counts for as much as they can be trusted.
    """

    roles = ("teacher",)

    def __init__(self, loss: str = "chi", *, cells: float = 1.0, counts: float = 0.15) -> None:
        super().__init__()
        self.loss = LOSSES[loss]()
        self.cells, self.counts = cells, counts

    def terms(
        self, batch: Batch, *, student: CountingNet, lessons: Lessons, done: float
    ) -> dict[str, Tensor]:
        look = student.look(batch.frames_N3HW)
        density_N1hw = look.density_N1hw.float()
        lesson = lessons["teacher"]
        taught_N1hw = lesson.density_N1hw.float().clamp(min=0)
        if "trust" in lesson.hints:
            taught_N1hw = torch.lerp(density_N1hw.detach(), taught_N1hw, lesson.hints["trust"])
        terms = over_labelled(self.loss(look, batch), batch)
        error_N = squared(predicted=density_N1hw, target=taught_N1hw)
        terms["soft_cells"] = self.cells * error_N.mean()
        if self.counts:
            error_N = pooled_chi(predicted=density_N1hw, heads=taught_N1hw)
            terms["soft_counts"] = self.counts * error_N.mean()
        return terms


method = Soft
