"""Zero-inflated Poisson likelihood (EBC-ZIP, 2025): most cells of a street hold nobody at all.

A cell is empty for sure with probability p, else it holds a Poisson number of people around
lambda; its density is (1 - p) lambda, which is the mean. The density stays the net's one output.
p is a second reading of the same features, and only this loss needs it: a 1 x 1 convolution that
learns with the student and is left behind with the run, so every net can be taught so, and none
carries more when it is deployed.

Shapes: N crops, C channels, h x w cells.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.batch import Batch
from distill.losses._blocks import deviance, in_blocks
from models.errors import ConfigError
from models.nets import Look

LIMIT = 8.0  # log odds of an empty cell lie within: 1 in 3,000


class ZeroInflated(nn.Module):
    """EBC-ZIP's likelihood of single cells, and plain Poisson in blocks above them.

    `channels` are those of the net's last hint, which must lie on the cells of the map.
    """

    def __init__(
        self, channels: int = 64, sizes: tuple[int, ...] = (2, 4, 8), background: float = 0.1
    ) -> None:
        super().__init__()
        self.sizes, self.background = sizes, background
        self.empty = nn.Conv2d(channels, 1, 1)
        nn.init.normal_(self.empty.weight, std=0.01)
        nn.init.zeros_(self.empty.bias)  # type: ignore[arg-type]  # on by default

    def forward(self, look: Look, batch: Batch) -> dict[str, Tensor]:
        """Raises ConfigError where the last hint does not fit."""
        density_N1hw = look.density_N1hw.float()
        cells = _inflated(
            density_N1hw, heads_N1hw=batch.heads_N1hw, background=self.background,
            odds_N1hw=self._odds(look),
        )  # fmt: skip
        blocks = zip(
            in_blocks(density_N1hw, self.sizes), in_blocks(batch.heads_N1hw, self.sizes),
            strict=True,
        )  # fmt: skip
        losses = [
            deviance(predicted=predicted, true=true, background=self.background).sum(dim=(1, 2, 3))
            for predicted, true in blocks
        ]
        return {"cells": cells.sum(dim=(1, 2, 3)), "counts": torch.stack(losses).sum(dim=0)}

    def _odds(self, look: Look) -> Tensor:
        """Log odds that a cell is empty for sure."""
        name = next(reversed(look.hints), "none")
        features = look.hints.get(name, look.density_N1hw)
        wanted = (self.empty.in_channels, *look.density_N1hw.shape[2:])
        if features.shape[1:] != wanted:
            raise ConfigError(
                f"the loss zip wants features of {wanted}, the net's last hint {name!r} has "
                f"{tuple(features.shape[1:])}: choose another net or loss"
            )
        with torch.autocast(features.device.type, enabled=False):
            odds_N1hw: Tensor = self.empty(features.float())
        return LIMIT * torch.tanh(odds_N1hw / LIMIT)


def _inflated(
    density_N1hw: Tensor, *, odds_N1hw: Tensor, heads_N1hw: Tensor, background: float
) -> Tensor:
    """Negative log likelihood of each cell; its score is zero where the density is the mean."""
    log_busy = F.logsigmoid(-odds_N1hw)
    people = density_N1hw * torch.exp(-log_busy)
    crowd = log_busy - deviance(predicted=people, true=heads_N1hw, background=background)
    either = torch.logaddexp(F.logsigmoid(odds_N1hw), crowd)
    return -torch.where(heads_N1hw > 0, crowd, either)


loss = ZeroInflated
