"""Parts that several nets share."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.spec import InputSpec

Arrays = Mapping[str, NDArray[Any]]

KERAS_MEAN = (123.68, 116.779, 103.939)  # RGB; older Keras weights are fed BGR 0..255 minus this
VGG16_LAYERS = (
    "block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2",
    "block3_conv1", "block3_conv2", "block3_conv3",
)  # fmt: skip


class _RisingRelu(torch.autograd.Function):
    """ReLU whose gradient also passes below zero where it would lift the value.

    A density map may not be negative, yet a plain ReLU at the output never wakes a cell up again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        (grad,) = grads
        lifting: Tensor = grad * ((x > 0) | (grad < 0))
        return lifting


class DensityHead(nn.Module):
    """The last 1 x 1 convolution: features to people per cell, never negative, always in fp32."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out = nn.Conv2d(channels, 1, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.constant_(self.out.bias, 0.05)  # type: ignore[arg-type]  # on by default

    def forward(self, features_NChw: Tensor) -> Tensor:
        people = in_fp32(self.out, features_NChw)
        if not people.requires_grad:  # the same numbers, in a form that exports
            return F.relu(people)
        rising: Tensor = _RisingRelu.apply(people)  # type: ignore[no-untyped-call]  # torch's own
        return rising


def in_fp32(layer: nn.Module, features_NChw: Tensor) -> Tensor:
    """The layer without autocast.

    A density map rounded to bf16 would be off by 0.4 % before anything is counted.
    """
    people: Tensor
    kind = features_NChw.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        with torch.autocast(kind, enabled=False):
            people = layer(features_NChw.float())
    else:
        people = layer(features_NChw)
    return people


def conv_relu(
    c_in: int, c_out: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution with bias, then ReLU; keeps the size at stride 1. Kaiming start, fan-out."""
    padding = dilation * (kernel - 1) // 2 if stride < kernel else 0
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # the bias is there: it is on by default
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def conv_relus(c_in: int, *widths: int, dilation: int = 1) -> nn.Sequential:
    """3 x 3 convolutions of these widths, each with ReLU."""
    pairs = pairwise((c_in, *widths))
    return nn.Sequential(*(conv_relu(*pair, dilation=dilation) for pair in pairs))


class Stages(nn.ModuleDict):
    """Modules one behind the other; each gives a hint of its name."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = {}
        for name, stage in self.items():
            x = seen[name] = stage(x)
        return seen


class VggTrunk(Stages):
    """The convolutions of a VGG net (Simonyan and Zisserman, ICLR 2015), in order."""

    def from_arrays(self, arrays: Arrays) -> dict[str, Tensor]:
        """The first seven convolutions, VGG-16's, from Keras arrays.

        Kernels `<layer>__kernel` lie as (H, W, in, out), biases are `<layer>__bias`. Raises
        KeyError for a layer that is missing.
        """
        tensors: dict[str, Tensor] = {}
        names = [n.removesuffix(".weight") for n in self.state_dict() if n.endswith(".weight")]
        for layer, name in zip(VGG16_LAYERS, names, strict=False):
            kernel = np.transpose(arrays[f"{layer}__kernel"].astype(np.float64), (3, 2, 0, 1))
            bias = arrays[f"{layer}__bias"].astype(np.float64)
            if layer == VGG16_LAYERS[0]:
                kernel, bias = fed_as_keras(kernel, bias)
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = as_tensor(kernel), as_tensor(bias)
        return tensors


def as_tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def fed_as_keras(
    kernel: NDArray[Any], bias: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A first convolution made for BGR 0..255 minus `KERAS_MEAN`, fed RGB as InputSpec says.

    Kernel (out, 3, H, W). Zero padding then stands for a colour that is off by up to half a grey
    level of 255.
    """
    spec = InputSpec(stride=1, multiple=1)
    kernel = kernel[:, ::-1].astype(np.float64)
    shift = 255 * np.array(spec.mean) - KERAS_MEAN
    scale = 255 * np.array(spec.std)
    return kernel * scale[:, None, None], bias + kernel.sum(axis=(2, 3)) @ shift


def folded(
    arrays: Arrays, layer: str, *, bias: NDArray[Any] | float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Kernel and bias of `<layer>_conv` with `<layer>_bn` behind it. Raises KeyError."""
    scale, shift = batch_norm(arrays, f"{layer}_bn")
    kernel = arrays[f"{layer}_conv.weight"].astype(np.float64)
    return kernel * scale[:, None, None, None], bias * scale + shift


def batch_norm(arrays: Arrays, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A stored BatchNorm as what it does when frozen, x * scale + shift (per channel).

    Raises KeyError where one of its arrays is missing.
    """
    gamma, beta, mean, var = (
        arrays[f"{name}.{part}"].astype(np.float64) for part in ("gamma", "beta", "mean", "var")
    )
    scale = gamma / np.sqrt(var + 1.001e-5)  # Keras's epsilon for these nets
    return scale, beta - mean * scale
