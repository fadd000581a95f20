"""throng-s, the fast student: a 4 x 4 patch stem, then plain 3 x 3 convolutions at strides 4 and 8.

Widths are multiples of 64 and the first layer already works at a quarter of the resolution: on CPUs
with int8 tiles that is what makes a frame cheap, more than the number of operations does. The body
is dilated by two, which is free there (by four is not): a cell sees 132 px instead of 84.
"""

from torch import Tensor, nn

from models.nets import CountingNet, Look
from models.nets._blocks import DensityHead, conv_relu
from models.spec import InputSpec


class ThrongS(CountingNet):
    spec = InputSpec(stride=8, multiple=8)

    def __init__(self, width: int = 192, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_relu(3, 64, kernel=4, stride=4), conv_relu(64, 64))
        self.down = conv_relu(64, width, stride=2)
        self.body = nn.Sequential(*(conv_relu(width, width, dilation=2) for _ in range(depth)))
        self.neck = conv_relu(width, 64)
        self.head = DensityHead(64)

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        stem = self.stem(frames_N3HW)
        down = self.down(stem)
        return {"stem": stem, "down": down, "body": self.body(down)}

    def decode(self, latent_NChw: Tensor) -> Look:
        neck = self.neck(latent_NChw)
        return Look(self.head(neck), {"neck": neck})


net = ThrongS
