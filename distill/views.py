"""What teachers say when they look twice: several views of a frame, several teachers of one view.

Shapes: N frames, H x W pixels, h x w cells. All maps are people per cell and keep their sums.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.batch import Lessons
from models.nets import CountingNet, Look

SCALES = (1.0, 1.5)
"""Small heads are seen better when they are enlarged, their surroundings when they are not."""


@torch.no_grad()
def looked_over(
    net: CountingNet, frames_N3HW: Tensor, *, scales: Sequence[float] = SCALES
) -> Tensor:
    """The net's mean map over mirror images and scales, N1hw on the cells of the frames, fp32.

    Sides of a scaled frame are rounded to what the net takes. Costs 2 x sum(scale^2) looks.
    """
    multiple, stride = net.spec.multiple, net.spec.stride
    shape_hw = [side // stride for side in frames_N3HW.shape[2:]]
    seen = []
    for scale in scales:
        sides = [
            max(1, round(side * scale / multiple)) * multiple for side in frames_N3HW.shape[2:]
        ]
        scaled = F.interpolate(frames_N3HW, size=sides, mode="bilinear", antialias=scale < 1)
        seen.append(regrid(net(scaled).float(), shape_hw))
        seen.append(regrid(net(scaled.flip(3)).float(), shape_hw).flip(3))
    return torch.stack(seen).mean(dim=0)


def regrid(density_N1hw: Tensor, shape_hw: Sequence[int]) -> Tensor:
    """The same people on a grid of other cells, shared by area.

    Each cell is cut into equal parts, as many as make both grids fit; then parts are added up.
    """
    for dim, wanted in zip((2, 3), shape_hw, strict=True):
        have = density_N1hw.shape[dim]
        common = math.gcd(have, wanted)
        cut, added = wanted // common, have // common
        parts = density_N1hw.repeat_interleave(cut, dim) / cut
        density_N1hw = parts.unflatten(dim, (wanted, added)).sum(dim=dim + 1)
    return density_N1hw


def agreement(maps: Sequence[Tensor], *, block: int = 2, doubt: float = 0.1) -> Tensor:
    """How far several maps of one crop can be trusted, N1hw: e^(-range / (mean + doubt)) of their
    counts in blocks of `block` x `block` cells.

    1 where they are equal, e^-2 where one of two sees a crowd and the other nobody.
    """
    counts_RN1hw = _blocks(torch.stack(list(maps)).clamp(min=0), block)
    apart_N1hw = counts_RN1hw.amax(dim=0) - counts_RN1hw.amin(dim=0)
    return torch.exp(-apart_N1hw / (counts_RN1hw.mean(dim=0) + doubt))


def heard(lessons: Lessons, roles: Sequence[str]) -> Lessons:
    """The lessons as a method asks for them: a method of one teacher hears the mean of several.

    How far they agree goes with it, as the hint "trust".
    """
    if set(roles) == lessons.keys() or not lessons:
        return lessons
    maps = [look.density_N1hw.float() for look in lessons.values()]
    together = Look(torch.stack(maps).mean(dim=0), {"trust": agreement(maps)})
    return dict.fromkeys(roles, together)


def _blocks(density_RN1hw: Tensor, block: int) -> Tensor:
    """The count of the block that each cell lies in; the last block of a side may be smaller."""
    h, w = density_RN1hw.shape[3:]
    padded = F.pad(density_RN1hw, (0, -w % block, 0, -h % block))
    counts = F.avg_pool2d(padded.flatten(0, 2), block) * block**2
    whole = counts.repeat_interleave(block, 1).repeat_interleave(block, 2)
    return whole[:, :h, :w].reshape(density_RN1hw.shape)
