"""SANet (Cao et al., "Scale Aggregation Network for Accurate and Efficient Crowd Counting", ECCV
2018) at any channel ratio.

Known: modules of 1 x 1, 3 x 3, 5 x 5 and 7 x 7 branches with max-pools between them, 1 x 1
convolutions that halve the input of the larger branches, a decoder of convolutions from 9 x 9 down
and transposed ones up to full resolution, instance normalisation and ReLU after each, 0.91 M
parameters. No code of its authors is public, so how these fit is read from the figure and from that
number: branches of 16, 32, 32 and 16 channels, transposed convolutions of 3 x 3, and the 5 x 5 that
the figure has before the last 1 x 1 but the text has not. It comes to 0.912 M (0.905 M without the
5 x 5).

Ours: the published map has a value a pixel; here a cell is the sum of its 8 x 8. The last layer is
held at zero or above. `ratio` divides every width; what SKT's students of SANet look like is not
known. Instance normalisation sees the whole frame, and the paper tests in overlapping quarters:
counts of a large frame and of its tiles differ more than those of other nets.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.nets import CountingNet, Look
from models.nets._blocks import DensityHead, Stages
from models.spec import InputSpec

KERNELS = (1, 3, 5, 7)


class Aggregation(nn.Module):
    """Four branches side by side, `width` channels each."""

    def __init__(self, c_in: int, width: int, *, halved: bool = True) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for kernel in KERNELS:
            inner = c_in // 2 if halved and kernel > 1 else c_in
            before = [_normed(nn.Conv2d(c_in, inner, 1, bias=False))] if inner < c_in else []
            conv = nn.Conv2d(inner, width, kernel, padding=kernel // 2, bias=False)
            self.branches.append(nn.Sequential(*before, _normed(conv)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class SaNet(CountingNet):
    spec = InputSpec(stride=8, multiple=8)

    def __init__(self, ratio: int = 1) -> None:
        super().__init__()
        a, b, d = (max(1, round(width / ratio)) for width in (16, 32, 64))
        self.encoder = Stages(
            {
                "module1": Aggregation(3, a, halved=False),
                "module2": nn.Sequential(nn.MaxPool2d(2), Aggregation(4 * a, b)),
                "module3": nn.Sequential(nn.MaxPool2d(2), Aggregation(4 * b, b)),
                "module4": nn.Sequential(nn.MaxPool2d(2), Aggregation(4 * b, a)),
            }
        )
        self.decoder = Stages(
            {
                "up1": nn.Sequential(_conv(4 * a, d, kernel=9), _doubled(d)),
                "up2": nn.Sequential(_conv(d, b, kernel=7), _doubled(b)),
                "up3": nn.Sequential(_conv(b, a, kernel=5), _doubled(a)),
                "fine": nn.Sequential(_conv(a, a, kernel=3), _conv(a, a, kernel=5)),
            }
        )
        self.head = DensityHead(a)

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = self.encoder(frames_N3HW)
        return seen

    def decode(self, latent_NChw: Tensor) -> Look:
        seen: dict[str, Tensor] = self.decoder(latent_NChw)
        # the head says 64 times the people of a pixel, so that it starts as other nets' heads do
        return Look(F.avg_pool2d(self.head(seen["fine"]), 8), seen)


def _conv(c_in: int, c_out: int, *, kernel: int) -> nn.Sequential:
    return _normed(nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False))


def _doubled(channels: int) -> nn.Sequential:
    return _normed(nn.ConvTranspose2d(channels, channels, 3, 2, 1, output_padding=1, bias=False))


def _normed(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    """The norm takes away what a bias would add: there is none."""
    norm = nn.InstanceNorm2d(conv.out_channels, affine=True)
    return nn.Sequential(conv, norm, nn.ReLU(inplace=True))


net = SaNet
