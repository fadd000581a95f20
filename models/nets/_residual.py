"""The trunk of the product students: ResNet18 to stride 16 (He et al., CVPR 2016).

BatchNorm is folded into the convolutions, so they start from ImageNet weights and quantise as plain
3 x 3 convolutions. Shapes: N frames, H x W pixels.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from models.nets._blocks import Arrays, as_tensor


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a short cut (a 1 x 1 where the shape changes)."""

    def __init__(self, c_in: int, c_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1)
        self.downsample = nn.Sequential()
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.downsample(x))


class Trunk(nn.Module):
    """A stem to stride 4 and ResNet18's layers behind it, with so many blocks each.

    Names are those of torchvision, so published weights fit by name.
    """

    def __init__(self, conv1: nn.Conv2d, pool: nn.Module, blocks: Sequence[int]) -> None:
        super().__init__()
        at_4, at_8, at_16 = blocks
        self.conv1, self.pool = conv1, pool
        self.layer1 = _residuals(at_4, 64, 64)
        self.layer2 = _residuals(at_8, 64, 128, stride=2)
        self.layer3 = _residuals(at_16, 128, 256, stride=2)

    def forward(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        """Features at strides 4, 8 and 16."""
        at_4 = self.layer1(self.pool(F.relu(self.conv1(frames_N3HW))))
        at_8 = self.layer2(at_4)
        return {"layer1": at_4, "layer2": at_8, "layer3": self.layer3(at_8)}

    def from_arrays(self, arrays: Arrays) -> dict[str, Tensor]:
        """The published layers that are here, without the first where that is one of our own.

        Raises KeyError for a layer that is missing.
        """
        published = self.conv1.weight.shape == arrays["conv1.weight"].shape
        names = [n for n in self.state_dict() if published or not n.startswith("conv1.")]
        return {name: as_tensor(arrays[name]) for name in names}


def _residuals(blocks: int, c_in: int, c_out: int, *, stride: int = 1) -> nn.Sequential:
    first = Residual(c_in, c_out, stride=stride)
    return nn.Sequential(first, *(Residual(c_out, c_out) for _ in range(blocks - 1)))
