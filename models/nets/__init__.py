"""The networks. Each file holds `net(**arguments) -> CountingNet`.

Shapes: N frames, H x W pixels, h x w cells, C channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.plugins import Plugins
from models.spec import InputSpec


class Look(NamedTuple):
    """Everything a net saw in a batch: what a distillation method may compare."""

    density_N1hw: Tensor  # people per cell
    hints: dict[str, Tensor]  # layer name to (N, C, h', w'), shallow to deep


class CountingNet(nn.Module, ABC):
    """Normalised frames in, density map out: the same type in training, evaluation and export.

    Two halves: an encoder, and a decoder that needs no more than the encoder's last features, the
    latent. Some methods teach the latent alone, or decode it twice.
    """

    spec: InputSpec

    @abstractmethod
    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        """Hints of the encoder, shallow to deep; the last is the latent."""

    @abstractmethod
    def decode(self, latent_NChw: Tensor) -> Look:
        """The density map of a latent, and the hints of the decoder."""

    def look(self, frames_N3HW: Tensor) -> Look:
        encoded = self.encode(frames_N3HW)
        decoded = self.decode(latent_of(encoded))
        return Look(decoded.density_N1hw, encoded | decoded.hints)

    def forward(self, frames_N3HW: Tensor) -> Tensor:
        return self.look(frames_N3HW).density_N1hw


def latent_of(encoded: dict[str, Tensor]) -> Tensor:
    return encoded[next(reversed(encoded))]


class Pixels(nn.Module):
    """A net as it is deployed: uint8 RGB frames in, (N, h, w) people per cell out."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: CountingNet) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(net.spec.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(net.spec.std).view(1, 3, 1, 1) * 255)

    def normalise(self, frames_NHW3: Tensor) -> Tensor:
        """Pixels 0..255 to what the net is fed, (N, 3, H, W)."""
        return (frames_NHW3.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def forward(self, frames_NHW3: Tensor) -> Tensor:
        density_N1hw: Tensor = self.net(self.normalise(frames_NHW3))
        return density_N1hw.squeeze(1)


NETS: Plugins[Callable[..., CountingNet]] = Plugins("models.nets", "net")


@torch.no_grad()
def widths_of(net: CountingNet) -> dict[str, int]:
    """Channels of each hint, shallow to deep."""
    first = next(net.parameters())
    frames = torch.zeros(1, 3, 64, 64, dtype=first.dtype, device=first.device)
    return {name: hint.shape[1] for name, hint in net.look(frames).hints.items()}


def parameters_of(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
