"""ReviewKD: a teacher's latent instructs the student, who then reviews its own estimate.

Liu, Yi, Zeng, "Reducing Capacity Gap in Knowledge Distillation with Review Mechanism for Crowd
Counting" (arXiv 2206.05475). From its abstract, all that is known to us: a heavy teacher hands on
its latent feature, a refined estimate then comes from a review of what was learned, the review adds
no parameter, and a student may surpass its teacher. Ours: every formula below, the layers, weights
and schedule. It is not the "Knowledge Review" of Chen et al. (CVPR 2021), which shares its name.

Shapes: N crops, C channels, h x w cells.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.batch import Batch, Lessons
from distill.estimates import over_estimates, reviewing
from distill.losses import LOSSES
from distill.methods import Method
from distill.pace import fading
from models.errors import ConfigError
from models.nets import CountingNet, latent_of

FADES = 0.3  # the last share of a run, in which the instruction fades away
TEMPERATURE = 4.0


class ReviewKd(Method):
    """`instruct` and `channels` weigh the two instructions, `review` the losses of the estimates.

    Without a review (0) the encoder alone learns, of any net, and no label is looked at.
    """

    roles = ("teacher",)

    def __init__(
        self,
        instruct: float = 1.0,
        review: float = 1.0,
        channels: float = 0.0,
        loss: str = "chi",
        student_latent: str = "front",
        teacher_latent: str = "front",
    ) -> None:
        super().__init__()
        if instruct <= 0:
            raise ConfigError("reviewkd without instruction needs no teacher: use method='review'")
        self.instruct, self.review, self.channels = instruct, review, channels
        self.student_latent, self.teacher_latent = student_latent, teacher_latent
        self.loss = LOSSES[loss]()

    def meet(self, *, student: CountingNet, teachers: Mapping[str, CountingNet]) -> None:
        """Raises ConfigError for a latent that is not there, or a student that cannot review."""
        if self.review:
            reviewing(student)
        if not teachers:
            raise ConfigError("reviewkd wants its teacher's latent: a bank holds none")
        c_student = _width(student, self.student_latent)
        c_teacher = _width(teachers["teacher"], self.teacher_latent)
        self.projector = nn.Conv2d(c_student, c_teacher, 1)

    def terms(
        self, batch: Batch, *, student: CountingNet, lessons: Lessons, done: float
    ) -> dict[str, Tensor]:
        encoded = student.encode(batch.frames_N3HW)
        terms: dict[str, Tensor] = {}
        if self.review:
            looks = reviewing(student).estimates(latent_of(encoded))
            losses = over_estimates(self.loss, looks, batch)
            terms = {name: self.review * loss for name, loss in losses.items()}
        weight = fading(done, over=FADES) if self.review else 1.0
        learned, taught = _on_one_grid(
            encoded[self.student_latent], lessons["teacher"].hints[self.teacher_latent]
        )
        learned, taught = self.projector(learned).float(), taught.float()
        terms["instruction"] = weight * self.instruct * apart(learned, taught)
        if self.channels:
            terms["channels"] = weight * self.channels * channelwise(learned, taught)
        return terms


def apart(learned_NChw: Tensor, taught_NChw: Tensor) -> Tensor:
    """2 (1 - cos) along channels, the squared distance of unit vectors; mean over cells."""
    return 2 * (1 - F.cosine_similarity(learned_NChw, taught_NChw, dim=1)).mean()


def channelwise(learned_NChw: Tensor, taught_NChw: Tensor) -> Tensor:
    """KL of where in the picture a channel fires, mean over channels (Shu et al., ICCV 2021)."""
    learned, taught = (
        torch.log_softmax(x.flatten(2) / TEMPERATURE, dim=2) for x in (learned_NChw, taught_NChw)
    )
    kl_NC = F.kl_div(learned, taught, reduction="none", log_target=True).sum(dim=2)
    return kl_NC.mean() * TEMPERATURE**2


def _on_one_grid(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both on the coarser of their grids."""
    size = (min(one.shape[2], other.shape[2]), min(one.shape[3], other.shape[3]))
    return F.adaptive_avg_pool2d(one, size), F.adaptive_avg_pool2d(other, size)


@torch.no_grad()
def _width(net: CountingNet, latent: str) -> int:
    """Channels of that hint of the encoder."""
    encoded = net.encode(torch.zeros(1, 3, 64, 64, device=next(net.parameters()).device))
    if latent not in encoded:
        there = ", ".join(encoded)
        raise ConfigError(f"the encoder of {type(net).__name__} has no {latent!r}; it has {there}")
    return encoded[latent].shape[1]


method = ReviewKd
