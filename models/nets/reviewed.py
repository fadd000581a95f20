"""Any net, with a second look: its estimate says where the crowd is, and its features there are
decoded again.

The review phase of ReviewKD (Liu et al., arXiv 2206.05475), which is known by its abstract alone: a
refined estimate from the learnt feature, without any further parameter. How it is made is inferred,
all of it (our methods notes, 2.4): the gate, that it multiplies the latent, and that the same
decoder runs again.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import ConfigError
from models.nets import NETS, CountingNet, Look

HALF = 0.1  # people per cell that open the gate half: a tight crowd at stride 8


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
            gate_N1hw = gate(looks[-1].density_N1hw)
            if gate_N1hw.shape[2:] != latent_NChw.shape[2:]:
                gate_N1hw = F.interpolate(gate_N1hw, size=latent_NChw.shape[2:], mode="nearest")
            looks.append(self.net.decode(latent_NChw * (1 + gate_N1hw)))
        return looks

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Takes what the wrapped net would take, too: its checkpoint starts a reviewed one."""
        if any(name.startswith("net.") for name in state_dict):
            return super().load_state_dict(state_dict, strict, assign)
        return self.net.load_state_dict(state_dict, strict, assign)


@torch.no_grad()
def gate(density_N1hw: Tensor) -> Tensor:
    """How crowded a cell is, 0..1, without gradient.

    A cell's gate depends on that cell alone. Our notes measure it by the fullest cell of the frame:
    then a crop's gates are wider open than those of the picture it is from (0.30 and 0.36 against
    0.19 where people are, on crops of 256 px and whole pictures of parts A and B), and a decoder
    that learns on crops meets features it has not seen.
    """
    people_N1hw = F.relu(density_N1hw)
    return people_N1hw / (people_N1hw + HALF)


net = Reviewed
