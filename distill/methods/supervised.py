"""Supervised learning from head points alone: the control for every other method."""

from torch import Tensor

from distill.batch import Batch, Lessons
from distill.losses import LOSSES, over_labelled
from distill.methods import Method
from models.nets import CountingNet


class Supervised(Method):
    def __init__(self, loss: str = "chi") -> None:
        super().__init__()
        self.loss = LOSSES[loss]()

    def terms(
        self, batch: Batch, *, student: CountingNet, lessons: Lessons, done: float
    ) -> dict[str, Tensor]:
        return over_labelled(self.loss(student.look(batch.frames_N3HW), batch), batch)


method = Supervised
