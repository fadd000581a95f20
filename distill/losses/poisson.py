"""Poisson likelihood of the heads in cells and in blocks of several sizes: it seeks the mean.

Shapes: N crops, h x w cells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.batch import Batch
from distill.losses._blocks import deviance, in_blocks
from models.nets import Look


@dataclass(frozen=True)
class Poisson:
    sizes: tuple[int, ...] = (1, 2, 4, 8)
    background: float = 0.1

    def __call__(self, look: Look, batch: Batch) -> dict[str, Tensor]:
        blocks = zip(
            in_blocks(look.density_N1hw.float(), self.sizes),
            in_blocks(batch.heads_N1hw, self.sizes),
            strict=True,
        )
        losses = [
            deviance(predicted=predicted, true=true, background=self.background).sum(dim=(1, 2, 3))
            for predicted, true in blocks
        ]
        return {"poisson": torch.stack(losses).sum(dim=0)}


loss = Poisson
