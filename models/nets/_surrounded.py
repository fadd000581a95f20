"""The common build of throng's students and their teachers: a trunk to stride 16 that is published
with ImageNet weights, two dilated convolutions that widen what a cell sees, a light head at
stride 8.

Shapes: N frames, H x W pixels, C channels, h x w cells.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from models.nets import CountingNet, Look
from models.nets._blocks import DensityHead, conv_relu
from models.spec import InputSpec


class Surrounded(CountingNet):
    """`trunk` gives features at strides 4, 8 and 16 by name, the last two of so many channels."""

    spec = InputSpec(stride=8, multiple=16)

    def __init__(self, trunk: nn.Module, *, c_8: int, c_16: int, width: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.around = nn.Sequential(
            nn.Sequential(nn.Conv2d(c_16, width, 1), nn.ReLU()),
            conv_relu(width, width, dilation=2),
            conv_relu(width, width, dilation=4),
        )
        self.lateral = nn.Conv2d(c_8, width, 1)
        self.neck = nn.Sequential(conv_relu(width, width), conv_relu(width, 64))
        self.head = DensityHead(64)

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        features: dict[str, Tensor] = self.trunk(frames_N3HW)
        _, at_8, at_16 = features.values()
        around = self.around(at_16)
        merged = F.relu(self.lateral(at_8) + F.interpolate(around, scale_factor=2, mode="nearest"))
        return features | {"around": around, "merged": merged}

    def decode(self, latent_NChw: Tensor) -> Look:
        neck = self.neck(latent_NChw)
        return Look(self.head(neck), {"neck": neck})
