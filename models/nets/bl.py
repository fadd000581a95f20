"""BL, the net of the Bayesian loss (Ma et al., ICCV 2019), at any channel ratio.

`ratio=1` is the published net: VGG-19 without its last pool and classifier, brought back to stride
8, then a small regression head. `ratio=4` is the 1/4-BL of SKT (Liu et al., ACM MM 2020): every
hidden width is divided, the head's included. SKT's layers for BL are not published: its hints here
are our guess.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.nets import CountingNet, Look
from models.nets._blocks import VggTrunk, conv_relu, conv_relus, in_fp32
from models.spec import InputSpec


class Bl(CountingNet):
    """Sixteen VGG-19 convolutions with four max-pools, bilinear upsampling, three more of them.

    The map is the absolute value of the last layer, as published.
    """

    spec = InputSpec(stride=8, multiple=16)

    def __init__(self, ratio: int = 1) -> None:
        super().__init__()
        a, b, c, d = (round(width / ratio) for width in (64, 128, 256, 512))
        self.trunk = VggTrunk(
            {
                "conv1_1": conv_relu(3, a),
                "pool1": nn.Sequential(conv_relus(a, a), nn.MaxPool2d(2)),
                "pool2": nn.Sequential(conv_relus(a, b, b), nn.MaxPool2d(2)),
                "pool3": nn.Sequential(conv_relus(b, c, c, c, c), nn.MaxPool2d(2)),
                "pool4": nn.Sequential(conv_relus(c, d, d, d, d), nn.MaxPool2d(2)),
                "conv5_4": conv_relus(d, d, d, d, d),
            }
        )
        self.reg1 = conv_relu(d, c)
        self.reg2 = conv_relu(c, b)
        self.out = nn.Conv2d(b, 1, 1)
        nn.init.normal_(self.out.weight, std=0.01)  # ours: cells start near zero at any width
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]  # on by default

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        """The latent, "upsampled", has the map's cells."""
        seen: dict[str, Tensor] = self.trunk(frames_N3HW)
        upsampled = F.interpolate(
            seen["conv5_4"], scale_factor=2, mode="bilinear", align_corners=True
        )
        return seen | {"upsampled": upsampled}

    def decode(self, latent_NChw: Tensor) -> Look:
        reg1 = self.reg1(latent_NChw)
        return Look(torch.abs(in_fp32(self.out, self.reg2(reg1))), {"reg1": reg1})


net = Bl
