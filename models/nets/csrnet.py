"""CSRNet (Li et al., CVPR 2018) at any channel ratio.

`ratio=1` is the published net and the teacher of SKT (Liu et al., ACM MM 2020); `ratio=4` is its
1/4-CSRNet. Every hidden width is divided by the ratio, the last layers included.
"""

from torch import Tensor, nn

from models.nets import CountingNet, Look
from models.nets._blocks import Stages, VggTrunk, conv_relu, conv_relus, in_fp32
from models.spec import InputSpec

WIDTHS = (64, 128, 256, 512)


class CsrNet(CountingNet):
    """Ten VGG-16 convolutions with three max-pools, six dilated ones, one 1 x 1 without ReLU.

    The last layer is linear as published: cells may fall slightly below zero. Pools round up, so
    a map has ceil(H / 8) rows.
    """

    spec = InputSpec(stride=8, multiple=8)

    def __init__(self, ratio: int = 1) -> None:
        super().__init__()
        a, b, c, d = (round(width / ratio) for width in WIDTHS)
        self.trunk = VggTrunk(
            {
                "conv1_1": conv_relu(3, a),
                "pool1": nn.Sequential(conv_relu(a, a), _pool()),
                "pool2": nn.Sequential(conv_relus(a, b, b), _pool()),
                "pool3": nn.Sequential(conv_relus(b, c, c, c), _pool()),
                "front": conv_relus(c, d, d, d),
            }
        )
        self.back = Stages(
            {
                "back1": conv_relu(d, d, dilation=2),
                "back4": conv_relus(d, d, d, c, dilation=2),
                "back6": conv_relus(c, b, a, dilation=2),
            }
        )
        self.out = nn.Conv2d(a, 1, 1)
        self._initialise(published=ratio == 1)

    def _initialise(self, *, published: bool) -> None:
        """As published: the teacher's back end from N(0, 0.01), students by Kaiming fan-out."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                if published and not name.startswith("trunk."):
                    nn.init.normal_(module.weight, std=0.01)
                else:
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # on by default

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = self.trunk(frames_N3HW)
        return seen

    def decode(self, latent_NChw: Tensor) -> Look:
        hints: dict[str, Tensor] = self.back(latent_NChw)
        return Look(in_fp32(self.out, hints["back6"]), hints)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, ceil_mode=True)


net = CsrNet
