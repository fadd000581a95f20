"""Losses on density maps that seek the mean, so that counts are not biased.

Shapes: N crops, h x w cells. An L1 loss on counts seeks the median, which lies below the mean while
the net is uncertain: it ended 36 people short on pictures of 123.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def squared(*, predicted: Tensor, target: Tensor) -> Tensor:
    """Squared error summed over the cells, averaged over the crops."""
    return (predicted - target).square().sum(dim=(1, 2, 3)).mean()


def pooled_chi(
    *, predicted: Tensor, heads: Tensor, sizes: tuple[int, ...] = (2, 4, 8, 16)
) -> Tensor:
    """Squared count error over its expected variance, in blocks of several sizes and in all.

    The variance is the *predicted* count + 1, without gradient: the true one would pull the
    estimate below the mean. Beyond ten standard deviations the loss grows linearly, so that the
    first steps have a gradient of sane length. Blocks larger than the map are left out.
    """
    fit = [size for size in sizes if size <= min(predicted.shape[2:])]
    losses = [_chi(predicted=_pool(predicted, size), true=_pool(heads, size)) for size in fit]
    whole = _chi(
        predicted=predicted.sum(dim=(2, 3), keepdim=True), true=heads.sum(dim=(2, 3), keepdim=True)
    )
    return torch.stack([*losses, whole]).sum()


def _chi(*, predicted: Tensor, true: Tensor) -> Tensor:
    deviations = (predicted - true) / (predicted.detach().clamp(min=0) + 1).sqrt()
    loss = F.huber_loss(deviations, torch.zeros_like(deviations), reduction="none", delta=10.0)
    return loss.sum(dim=(1, 2, 3)).mean() * 2


def _pool(density_N1hw: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(density_N1hw, size) * size**2
