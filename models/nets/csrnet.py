"""CSRNet (Li et al., CVPR 2018) at any channel ratio.

`ratio=1` is the published net and the teacher of SKT (Liu et al., ACM MM 2020); `ratio=4` is its
1/4-CSRNet. Every hidden width is divided by the ratio, the last layers included.
"""

from torch import Tensor, nn

from models.nets import CountingNet, Look
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
        a, b, c, d = (width // ratio for width in WIDTHS)
        self.stages = nn.ModuleDict(
            {
                "conv1_1": _convs(3, [a]),
                "pool1": nn.Sequential(_convs(a, [a]), _pool()),
                "pool2": nn.Sequential(_convs(a, [b, b]), _pool()),
                "pool3": nn.Sequential(_convs(b, [c, c, c]), _pool()),
                "back1": nn.Sequential(_convs(c, [d, d, d]), _convs(d, [d], dilation=2)),
                "back4": _convs(d, [d, d, c], dilation=2),
                "back6": _convs(c, [b, a], dilation=2),
            }
        )
        self.out = nn.Conv2d(a, 1, 1)
        self._initialise(published=ratio == 1)

    def _initialise(self, *, published: bool) -> None:
        """As published: the teacher's back end from N(0, 0.01), students by Kaiming fan-out."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                if published and ("back" in name or name == "out"):
                    nn.init.normal_(module.weight, std=0.01)
                else:
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # on by default

    def look(self, frames_N3HW: Tensor) -> Look:
        hints: dict[str, Tensor] = {}
        x = frames_N3HW
        for name, stage in self.stages.items():
            x = stage(x)
            hints[name] = x
        del hints["back6"]  # SKT's six hints end before the last two convolutions
        return Look(self.out(x), hints)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, ceil_mode=True)


def _convs(c_in: int, widths: list[int], *, dilation: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(c_in, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        c_in = width
    return nn.Sequential(*layers)


net = CsrNet
