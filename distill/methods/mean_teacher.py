"""Mean teacher: the student's own moving average teaches it what labels do not.

Tarvainen & Valpola (NeurIPS 2017); decay 0.97, hidden squares and the ramp as MRC-Crowd (TCSVT
2024) uses it for counting. Ours: squared error on every cell, where MRC-Crowd has the absolute one
on hidden cells; an absolute error seeks the median, which is short of people.
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from distill.batch import Batch, Lessons
from distill.cutmix import hide
from distill.losses import LOSSES, over_labelled
from distill.losses.chi import squared
from distill.methods import Method
from distill.pace import rising
from models.nets import CountingNet


class MeanTeacher(Method):
    """The average, with weight `decay` for what was, moves at the start of every step."""

    average: CountingNet

    def __init__(
        self,
        loss: str = "chi",
        decay: float = 0.97,
        consistency: float = 1.0,
        noise: float = 0.1,
        hidden: float = 0.3,
        ramp: float = 0.2,
    ) -> None:
        super().__init__()
        self.loss = LOSSES[loss]()
        self.decay, self.consistency, self.ramp = decay, consistency, ramp
        self.noise, self.hidden = noise, hidden

    def meet(self, *, student: CountingNet, teachers: Mapping[str, CountingNet]) -> None:
        self.average = copy.deepcopy(student).requires_grad_(False).eval()

    def terms(
        self, batch: Batch, *, student: CountingNet, lessons: Lessons, done: float
    ) -> dict[str, Tensor]:
        self._follow(student)
        with torch.no_grad():
            taught_N1hw = self.average(batch.frames_N3HW).float()
        labelled = batch.labelled_N[:, None, None, None]
        frames = torch.where(labelled, batch.frames_N3HW, self._disturbed(batch))
        look = student.look(frames)
        terms = over_labelled(self.loss(look, batch), batch)
        apart_N = squared(predicted=look.density_N1hw.float(), target=taught_N1hw)
        share_N = ~batch.labelled_N / (~batch.labelled_N).sum().clamp(min=1)
        terms["consistency"] = (
            self.consistency * rising(done, over=self.ramp) * (apart_N * share_N).sum()
        )
        return terms

    @torch.no_grad()
    def _follow(self, student: CountingNet) -> None:
        theirs = student.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(theirs[name], 1 - self.decay)
            else:
                value.copy_(theirs[name])

    def _disturbed(self, batch: Batch) -> Tensor:
        rng, frames = np.random.default_rng(batch.seed), batch.frames_N3HW
        noise = torch.from_numpy(rng.standard_normal(frames.shape, dtype="float32"))
        return hide(frames + self.noise * noise.to(frames.device), rng, share=self.hidden)


method = MeanTeacher
