"""The review of ReviewKD by itself: for a net that has no teacher, a heavy one included.

Liu, Yi, Zeng (arXiv 2206.05475). From its abstract: a review refines the estimate, helps heavy nets
too, and adds no parameter. Ours (the paper's formulas are not known to us): every estimate of the
same weights is taught, the first at half weight.
"""

from collections.abc import Mapping

from torch import Tensor

from distill.batch import Batch, Lessons
from distill.estimates import over_estimates, reviewing
from distill.losses import LOSSES
from distill.methods import Method
from models.nets import CountingNet, latent_of


class Review(Method):
    def __init__(self, loss: str = "chi") -> None:
        super().__init__()
        self.loss = LOSSES[loss]()

    def meet(self, *, student: CountingNet, teachers: Mapping[str, CountingNet]) -> None:
        """Raises ConfigError for a student that estimates only once."""
        reviewing(student)

    def terms(
        self, batch: Batch, *, student: CountingNet, lessons: Lessons, done: float
    ) -> dict[str, Tensor]:
        latent = latent_of(student.encode(batch.frames_N3HW))
        return over_estimates(self.loss, reviewing(student).estimates(latent), batch)


method = Review
