"""Any net, with a second look: its estimate says where the crowd is, and its features there are
decoded again.

The review phase of ReviewKD (Liu et al., arXiv 2206.05475), which is known by its abstract alone: a
refined estimate from the learnt feature, without any further parameter. How it is made is inferred,
all of it (our methods notes, 2.4): the emphasis, that it multiplies the latent, and that the same
decoder runs again. The notes multiply a crowd by up to two. A decoder that has learned is to say
the same of a feature and of twice that feature then, and CSRNet did not learn to
(docs/distillation.md). Here a cell stands out from those around it, and features stay as large on
the average as they were.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import ConfigError
from models.nets import NETS, CountingNet, Look

HALF = 0.1  # people per cell that count as half a crowd: a tight one at stride 8
AROUND = 7  # cells a side, of the square that a cell is held against


class Reviewed(CountingNet):
    """`net` decoded `passes` times more; the last estimate counts. No pass: the net as it is."""

    def __init__(self, net: str = "csrnet", passes: int = 1, **arguments: Any) -> None:
        super().__init__()
        if passes < 0:
            raise ConfigError(f"reviewed looks again passes={passes} times: choose 0 or more")
        self.net = NETS[net](**arguments)
        self.passes = passes
        self.spec = self.net.spec

    @property
    def trunk(self) -> nn.Module:
        """The wrapped net's: what initial weights start."""
        return self.net.get_submodule("trunk")

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        return self.net.encode(frames_N3HW)

    def decode(self, latent_NChw: Tensor) -> Look:
        return self.estimates(latent_NChw)[-1]

    def estimates(self, latent_NChw: Tensor) -> list[Look]:
        """The first look and each review, `passes` + 1 in all."""
        looks = [self.net.decode(latent_NChw)]
        for _ in range(self.passes):
            factor_N1hw = emphasis(looks[-1].density_N1hw)
            if factor_N1hw.shape[2:] != latent_NChw.shape[2:]:
                factor_N1hw = F.interpolate(factor_N1hw, size=latent_NChw.shape[2:], mode="nearest")
            looks.append(self.net.decode(latent_NChw * factor_N1hw))
        return looks

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Takes what the wrapped net would take, too: its checkpoint starts a reviewed one."""
        if any(name.startswith("net.") for name in state_dict):
            return super().load_state_dict(state_dict, strict, assign)
        return self.net.load_state_dict(state_dict, strict, assign)


@torch.no_grad()
def emphasis(density_N1hw: Tensor) -> Tensor:
    """By how much a cell is more crowded than those around it, 0.5 to 2, without gradient.

    It depends on the cells around alone. Our notes measure by the fullest cell of the frame: then
    features of a crop are not those of the picture it is from, and a decoder that learns on crops
    meets some that it has not seen.
    """
    people_N1hw = F.relu(density_N1hw)
    crowd_N1hw = people_N1hw / (people_N1hw + HALF)
    around_N1hw = F.avg_pool2d(
        crowd_N1hw, AROUND, stride=1, padding=AROUND // 2, count_include_pad=False
    )
    return (1 + crowd_N1hw) / (1 + around_N1hw)


net = Reviewed
