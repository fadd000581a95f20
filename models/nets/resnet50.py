"""A teacher: ResNet50 to stride 16 (He et al., CVPR 2016), its surroundings, a stride-8 head.

BatchNorm is folded into the convolutions, so nothing here depends on a batch.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from models.nets._blocks import Arrays, Stages, as_tensor, fed_as_keras, folded
from models.nets._surrounded import Surrounded

STAGES = {"conv2": (3, 64, 1), "conv3": (4, 128, 2), "conv4": (6, 256, 2)}  # blocks, width, stride


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 beside a short cut. The stride sits in the first 1 x 1, as in the first
    ResNet and in Keras's weights.
    """

    def __init__(self, c_in: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, width, 1, stride)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.conv3 = nn.Conv2d(width, 4 * width, 1)
        self.shortcut = nn.Sequential()
        if c_in != 4 * width:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, 4 * width, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.conv3(inner) + self.shortcut(x))


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        stages: dict[str, nn.Module] = {}
        channels = 64
        for name, (blocks, width, stride) in STAGES.items():
            first = Bottleneck(channels, width, stride=stride)
            channels = 4 * width
            stages[name] = nn.Sequential(
                first, *(Bottleneck(channels, width) for _ in range(blocks - 1))
            )
        self.stages = Stages(stages)

    def forward(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        """Features at strides 4, 8 and 16."""
        x = F.max_pool2d(F.relu(self.conv1(frames_N3HW)), 3, 2, 1)
        seen: dict[str, Tensor] = self.stages(x)
        return seen

    def from_arrays(self, arrays: Arrays) -> dict[str, Tensor]:
        """From Keras arrays `<layer>_conv.weight` (out, in, H, W), `<layer>_conv.bias` and
        `<layer>_bn.gamma`, `.beta`, `.mean` and `.var`. Raises KeyError for one that is missing.
        """
        tensors = {}
        for name, layer in _layers().items():
            kernel, bias = folded(arrays, layer, bias=arrays[f"{layer}_conv.bias"])
            if layer == "conv1":
                kernel, bias = fed_as_keras(kernel, bias)
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = as_tensor(kernel), as_tensor(bias)
        return tensors


def _layers() -> dict[str, str]:
    """Keras's name of each convolution here: blocks count from 1, short cuts are number 0."""
    layers = {"conv1": "conv1"}
    for stage, (blocks, _, _) in STAGES.items():
        for block in range(blocks):
            parts = {"conv1": 1, "conv2": 2, "conv3": 3} | ({} if block else {"shortcut.0": 0})
            for part, number in parts.items():
                layers[f"stages.{stage}.{block}.{part}"] = f"{stage}_block{block + 1}_{number}"
    return layers


class ResNet50(Surrounded):
    def __init__(self, width: int = 192) -> None:
        super().__init__(Trunk(), c_8=512, c_16=1024, width=width)


net = ResNet50
