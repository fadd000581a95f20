"""Bayesian loss (Ma et al., ICCV 2019): every head claims one person from the cells around it.

It needs no smoothed target. Its absolute errors seek the median of a head's share, as published.

Shapes: N crops, P heads, h x w cells, M = h x w.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.batch import Batch
from distill.losses._blocks import centres
from models.nets import Look


@dataclass(frozen=True)
class Bayesian:
    """`background` is a share of the crop's shorter side (published: of the whole picture's, 0.1 to
    1). At 0.25 and 256 px, a lone head and the background share a cell 8 px away equally.
    """

    sigma_px: float = 8.0
    background: float = 0.25

    def __call__(self, look: Look, batch: Batch) -> dict[str, Tensor]:
        density_N1hw = look.density_N1hw.float()
        centres_M2 = centres(density_N1hw.shape[2:], batch)
        far_px = self.background * min(batch.frames_N3HW.shape[2:])
        losses = []
        for density_1hw, points_P2 in zip(density_N1hw, batch.points, strict=True):
            shares = posterior(points_P2, centres_M2, sigma_px=self.sigma_px, far_px=far_px)
            claimed = (shares * density_1hw.flatten()).sum(dim=1)  # a product @ would be in bf16
            losses.append((1 - claimed[:-1]).abs().sum() + claimed[-1].abs())
        return {"bayesian": torch.stack(losses)}


def posterior(points_P2: Tensor, centres_M2: Tensor, *, sigma_px: float, far_px: float) -> Tensor:
    """Whose a cell is: (P + 1) x M, columns sum to 1; the last row is the background.

    The squared distance of the background is far_px^2 over that of the nearest head, as in the
    published code. Without heads all is background.
    """
    if not len(points_P2):
        return torch.ones(1, len(centres_M2), device=centres_M2.device)
    squared_PM = (points_P2[:, None] - centres_M2[None]).square().sum(dim=-1)
    nearest_1M = squared_PM.amin(dim=0, keepdim=True)
    background_1M = far_px**2 / nearest_1M.clamp(min=1e-3)
    return torch.softmax(-torch.cat([squared_PM, background_1M]) / (2 * sigma_px**2), dim=0)


loss = Bayesian
