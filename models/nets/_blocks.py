"""Parts that several nets share."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
    """The last 1 x 1 convolution: features to people per cell, never negative, always in fp32.

    A density map rounded to bf16 would be off by 0.4 % before anything is counted.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out = nn.Conv2d(channels, 1, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.constant_(self.out.bias, 0.05)  # type: ignore[arg-type]  # on by default

    def forward(self, features_NChw: Tensor) -> Tensor:
        people = self._people(features_NChw)
        if not people.requires_grad:  # the same numbers, in a form that exports
            return F.relu(people)
        rising: Tensor = _RisingRelu.apply(people)  # type: ignore[no-untyped-call]  # torch's own
        return rising

    def _people(self, features_NChw: Tensor) -> Tensor:
        people: Tensor
        if not torch.is_autocast_enabled(features_NChw.device.type):
            people = self.out(features_NChw)
        else:
            with torch.autocast(features_NChw.device.type, enabled=False):
                people = self.out(features_NChw.float())
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
