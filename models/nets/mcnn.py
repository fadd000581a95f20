"""MCNN (Zhang et al., CVPR 2016), as in the widely used re-implementation with 127,953 parameters.

Three columns with large, medium and small kernels look at the grey picture, for near and far heads;
a 1 x 1 convolution and ReLU fuse them. Kept as the floor to beat.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.nets import CountingNet, Look
from models.nets._blocks import DensityHead, conv_relu
from models.spec import InputSpec

LUMA = (0.299, 0.587, 0.114)


class Mcnn(CountingNet):
    """Fed grey 0..255, made here from the frames that every net takes. The columns end at stride 4:
    a cell is the sum of the four that it covers.
    """

    spec = InputSpec(stride=8, multiple=8)
    grey: Tensor
    black: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.columns = nn.ModuleDict(
            {"large": _column(9, 7, 16), "medium": _column(7, 5, 20), "small": _column(5, 3, 24)}
        )
        self.head = DensityHead(30)
        for module in self.columns.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)  # as published: pixels go up to 255
        grey = 255 * torch.tensor(LUMA) * torch.tensor(self.spec.std)
        black = 255 * torch.tensor(LUMA) @ torch.tensor(self.spec.mean)
        # no part of a checkpoint: published ones have none
        self.register_buffer("grey", grey.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("black", black.view(1), persistent=False)

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        """Each column; the latent is all three side by side."""
        grey_N1HW = F.conv2d(frames_N3HW, self.grey, self.black)
        seen = {name: column(grey_N1HW) for name, column in self.columns.items()}
        return seen | {"columns": torch.cat(list(seen.values()), dim=1)}

    def decode(self, latent_NChw: Tensor) -> Look:
        return Look(4 * F.avg_pool2d(self.head(latent_NChw), 2), {})


def _column(first: int, kernel: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        conv_relu(1, width, kernel=first),
        nn.MaxPool2d(2),
        conv_relu(width, 2 * width, kernel=kernel),
        nn.MaxPool2d(2),
        conv_relu(2 * width, width, kernel=kernel),
        conv_relu(width, width // 2, kernel=kernel),
    )


net = Mcnn
