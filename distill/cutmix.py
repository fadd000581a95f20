"""Views of crops: boxes of another crop pasted in, or squares hidden; always in whole cells.

CutMix (Yun et al., ICCV 2019) as MGD's code uses it (Qin et al., ECCV 2022): three boxes over a
quarter to a half of a crop. Ours: boxes end where cells end, so people per cell can be pasted as
pixels are and nobody is lost; and crops are mixed with their neighbours in count.

Shapes: N crops, K of them mixed, C channels, H x W pixels, h x w cells.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

BOXES = 3
COVERED = (0.25, 0.5)  # of a crop, by all its boxes
TRIES = 50


@dataclass(frozen=True)
class Mix:
    """Which cells of a crop come from which other one."""

    pasted_N1hw: Tensor  # bool
    other_N: Tensor  # the crop that they come from

    def paste(self, x_NChw: Tensor) -> Tensor:
        """Frames, maps and features alike, at any stride that divides the boxes."""
        shape = (x_NChw.shape[2], x_NChw.shape[3])
        pasted = F.interpolate(self.pasted_N1hw.float(), size=shape, mode="nearest") > 0
        return torch.where(pasted, x_NChw[self.other_N], x_NChw)

    def border(self) -> Tensor:
        """The cells (N1hw) at a box's edge, on either side: heads there are cut in two."""
        pasted = self.pasted_N1hw.float()
        near, far = (F.max_pool2d(side, 3, 1, 1) for side in (pasted, 1 - pasted))
        return (near > 0) & (far > 0)


def cutmix(
    mixed_N: Tensor,
    people_N: Tensor,
    *,
    shape_hw: tuple[int, int],
    unit: int,
    rng: np.random.Generator,
) -> Mix:
    """Boxes in units of `unit` cells for the crops of `mixed_N`; the others stay as they are.

    A crop takes boxes of the next one in order of `people_N`, which any estimate may give: a mass
    pasted into an empty street is a picture that no camera takes.
    """
    which_K = mixed_N.nonzero().flatten()
    order_K = which_K[people_N[which_K].argsort(stable=True)]
    other_N = torch.arange(len(mixed_N), device=mixed_N.device)
    other_N[order_K] = torch.cat([order_K[1:], order_K[-2:][:1]])
    height, width = shape_hw
    pasted = np.zeros((len(mixed_N), 1, height, width), dtype=np.bool_)
    for crop in which_K.tolist():
        drawn = boxes(-(-height // unit), -(-width // unit), rng)
        pasted[crop, 0] = drawn.repeat(unit, axis=0).repeat(unit, axis=1)[:height, :width]
    return Mix(torch.from_numpy(pasted).to(mixed_N.device), other_N)


def boxes(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where a crop is another one. Drawn again until they cover what they should, which overlaps
    and rounding may prevent; on a grid of very few units, what they can.
    """
    covered = np.zeros((rows, columns), dtype=np.bool_)
    for _ in range(TRIES):
        covered[:] = False
        area = rng.uniform(*COVERED) / BOXES
        for _ in range(BOXES):
            tall = area ** rng.uniform(0.25, 0.75)
            high, wide = max(1, round(rows * tall)), max(1, round(columns * area / tall))
            top, left = rng.integers(rows - high + 1), rng.integers(columns - wide + 1)
            covered[top : top + high, left : left + wide] = True
        if COVERED[0] <= covered.mean() <= COVERED[1]:
            break
    return covered


def hide(
    frames_N3HW: Tensor, rng: np.random.Generator, *, share: float, side_px: int = 32
) -> Tensor:
    """The frames with each square of `side_px`, with probability `share`, in the mean colour (0).

    MRC-Crowd (TCSVT 2024) hides a share of 0.3 in squares of 32 px.
    """
    number, _, height, width = frames_N3HW.shape
    grid = (number, 1, -(-height // side_px), -(-width // side_px))
    shown = (rng.random(grid) >= share).repeat(side_px, axis=2).repeat(side_px, axis=3)
    return frames_N3HW * torch.from_numpy(shown[:, :, :height, :width]).to(frames_N3HW.device)
