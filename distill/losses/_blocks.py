"""Parts that several losses share: counts in blocks, their likelihood, where the cells are.

Shapes: N crops, h x w cells, M = h x w.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.batch import Batch


def in_blocks(density_N1hw: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Counts in blocks of each size that fits into the map, then in the whole of it.

    Cells at the border that fill no block count in the whole alone.
    """
    fit = [size for size in sizes if size <= min(density_N1hw.shape[2:])]
    blocks = [F.avg_pool2d(density_N1hw, size) * size**2 for size in fit]
    return [*blocks, density_N1hw.sum(dim=(2, 3), keepdim=True)]


def deviance(*, predicted: Tensor, true: Tensor, background: float) -> Tensor:
    """Poisson negative log likelihood of each count, less that of a perfect prediction: 0 is best.

    `background` people are added to both sides: a block that is predicted empty and is not has a
    finite loss, and the best constant is still the mean. Below zero (nets with a linear output) the
    logarithm goes on as its second-order expansion, which pulls back up.
    """
    below = predicted < 0
    there = torch.where(below, 0, predicted) + background
    under = torch.where(below, predicted, 0) / background
    log = there.log() + under - under.square() / 2
    expected = true + background
    return predicted - true - expected * (log - expected.log())


def centres(look_hw: Sequence[int], batch: Batch) -> Tensor:
    """Where the cells of a map lie in the batch's frames: M x 2, x and y in pixels, row by row."""
    (h, w), (height, width) = look_hw, batch.frames_N3HW.shape[2:]
    y_h = (torch.arange(h, device=batch.frames_N3HW.device) + 0.5) * (height / h)
    x_w = (torch.arange(w, device=batch.frames_N3HW.device) + 0.5) * (width / w)
    return torch.cartesian_prod(y_h, x_w).flip(1)
