"""A teacher: DenseNet169 to stride 16 (Huang et al., CVPR 2017), its surroundings, a stride-8 head.

A BatchNorm behind a convolution is folded into it; one before a ReLU stays as a scale and a shift.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.nets._blocks import Arrays, as_tensor, batch_norm, folded
from models.nets._surrounded import Surrounded

BLOCKS = {"conv2": 6, "conv3": 12, "conv4": 32}
GROWTH = 32


class Normed(nn.Module):
    """A frozen BatchNorm, then ReLU; bf16 stays bf16, or autocast would do all of it in fp32."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.addcmul(self.shift.to(x.dtype), x, self.scale.to(x.dtype)))


class Layer(nn.Module):
    """32 more channels beside those that are there."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.norm = Normed(c_in)
        self.conv1 = nn.Conv2d(c_in, 4 * GROWTH, 1)
        self.conv2 = nn.Conv2d(4 * GROWTH, GROWTH, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv2(F.relu(self.conv1(self.norm(x))))], dim=1)


class Trunk(nn.Module):
    """Three dense blocks, each seen through the norm that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.blocks, self.norms, self.halves = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        channels = 64
        for name, layers in BLOCKS.items():
            if name != "conv2":
                self.halves[name] = nn.Conv2d(channels, channels // 2, 1, bias=False)
                channels //= 2
            grown = range(channels, channels + layers * GROWTH, GROWTH)
            self.blocks[name] = nn.Sequential(*(Layer(c_in) for c_in in grown))
            channels += layers * GROWTH
            self.norms[name] = Normed(channels)

    def forward(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        """Features at strides 4, 8 and 16, of 256, 512 and 1280 channels."""
        x = F.max_pool2d(F.relu(self.conv1(frames_N3HW)), 3, 2, 1)
        seen: dict[str, Tensor] = {}
        for name, block in self.blocks.items():
            if name in self.halves:
                x = F.avg_pool2d(self.halves[name](x), 2)
            x = seen[name] = self.norms[name](block(x))
        return seen

    def from_arrays(self, arrays: Arrays) -> dict[str, Tensor]:
        """From Keras arrays `<layer>_conv.weight` (out, in, H, W) and `<layer>_bn.gamma`, `.beta`,
        `.mean` and `.var`; transitions are `pool2` and `pool3`. Raises KeyError for a missing one.
        """
        tensors = _folded(arrays, "conv1", "conv1")
        for block, layers in BLOCKS.items():
            for number in range(1, layers + 1):
                layer, name = f"{block}_block{number}", f"blocks.{block}.{number - 1}"
                tensors |= _affine(*batch_norm(arrays, f"{layer}_0_bn"), f"{name}.norm")
                tensors |= _folded(arrays, f"{layer}_1", f"{name}.conv1")
                tensors[f"{name}.conv2.weight"] = as_tensor(arrays[f"{layer}_2_conv.weight"])
        for block, after, pool in (("conv2", "conv3", "pool2"), ("conv3", "conv4", "pool3")):
            tensors |= _affine(*batch_norm(arrays, f"{pool}_bn"), f"norms.{block}")
            tensors[f"halves.{after}.weight"] = as_tensor(arrays[f"{pool}_conv.weight"])
        return tensors | _last_norm(arrays)


def _last_norm(arrays: Arrays) -> dict[str, Tensor]:
    """The file ends before it: zero mean and unit variance, by the statistics of the last layer.

    These are of all channels but the 32 that it adds; those take the median of the others' scale.
    """
    last = f"conv4_block{BLOCKS['conv4']}_0_bn"
    ones, zeros = np.ones_like(arrays[f"{last}.gamma"]), np.zeros_like(arrays[f"{last}.beta"])
    plain = {f"{last}.gamma": ones, f"{last}.beta": zeros}
    scale, shift = batch_norm({**arrays, **plain}, last)
    scale = np.append(scale, np.full(GROWTH, np.median(scale)))
    return _affine(scale, np.append(shift, np.zeros(GROWTH)), "norms.conv4")


def _folded(arrays: Arrays, layer: str, name: str) -> dict[str, Tensor]:
    kernel, bias = folded(arrays, layer)
    return {f"{name}.weight": as_tensor(kernel), f"{name}.bias": as_tensor(bias)}


def _affine(scale: NDArray[Any], shift: NDArray[Any], name: str) -> dict[str, Tensor]:
    return {
        f"{name}.scale": as_tensor(scale)[:, None, None],
        f"{name}.shift": as_tensor(shift)[:, None, None],
    }


class DenseNet169(Surrounded):
    def __init__(self, width: int = 192) -> None:
        super().__init__(Trunk(), c_8=512, c_16=1280, width=width)


net = DenseNet169
