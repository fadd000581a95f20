"""Squared error of the map and chi on counts in blocks: both seek the mean, so none has a bias.

Shapes: N crops, h x w cells. An L1 loss on counts seeks the median, which lies below the mean while
the net is uncertain: it ended 36 people short on pictures of 123.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.batch import Batch
from distill.losses._blocks import in_blocks
from models.nets import Look


@dataclass(frozen=True)
class Chi:
    cells: float = 1.0
    counts: float = 0.15

    def __call__(self, look: Look, batch: Batch) -> dict[str, Tensor]:
        density_N1hw = look.density_N1hw.float()
        return {
            "cells": self.cells * squared(predicted=density_N1hw, target=batch.density_N1hw),
            "counts": self.counts * pooled_chi(predicted=density_N1hw, heads=batch.heads_N1hw),
        }


def squared(*, predicted: Tensor, target: Tensor) -> Tensor:
    """Squared error summed over the cells of each crop (N)."""
    return (predicted - target).square().sum(dim=(1, 2, 3))


def pooled_chi(
    *, predicted: Tensor, heads: Tensor, sizes: tuple[int, ...] = (2, 4, 8, 16)
) -> Tensor:
    """Squared count error over its expected variance, in blocks of several sizes and in all (N).

    The variance is the *predicted* count + 1, without gradient: the true one would pull the
    estimate below the mean. Beyond ten standard deviations the loss grows linearly, so that the
    first steps have a gradient of sane length. Blocks larger than the map are left out.
    """
    blocks = zip(in_blocks(predicted, sizes), in_blocks(heads, sizes), strict=True)
    return torch.stack([_chi(predicted=y, true=count) for y, count in blocks]).sum(dim=0)


def _chi(*, predicted: Tensor, true: Tensor) -> Tensor:
    deviations = (predicted - true) / (predicted.detach().clamp(min=0) + 1).sqrt()
    loss = F.huber_loss(deviations, torch.zeros_like(deviations), reduction="none", delta=10.0)
    return loss.sum(dim=(1, 2, 3)) * 2


loss = Chi
