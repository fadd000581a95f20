"""What a net's tensors hold on real pictures: their int8 scales, and the head that makes up for
rounding.

Shapes: N frames, H x W pixels, h x w cells, C channels.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deploy.engines import Frames
from deploy.lint import LEAST_SCALE
from deploy.qdq import LARGEST, Conv, Shortcut
from models.errors import BundleError
from models.nets import Pixels

BINS = 2048
CLIPS = np.linspace(0.1, 1.0, 91)  # tried shares of the largest value
RIDGE = 1e-4  # keeps the fitted head close to the trained one where the pictures say little


class Histogram:
    """How often which size of value came, signs aside. Its range doubles when it must."""

    def __init__(self) -> None:
        self._top = 0.0
        self._largest = 0.0
        self._times = np.zeros(BINS)

    def add(self, values: Tensor) -> None:
        sizes = values.abs()
        largest = float(sizes.max())
        self._largest = max(self._largest, largest)
        self._top = self._top or largest
        while 0 < self._top < largest:
            halved = self._times.reshape(-1, 2).sum(axis=1)
            self._times = np.concatenate([halved, np.zeros(BINS // 2)])
            self._top *= 2
        if self._top:
            self._times += torch.histc(sizes, BINS, 0, self._top).numpy()

    def scale(self) -> float:
        """The step of the int8 grid that moves the values least, in the mean square."""
        if not self._largest:
            return 1.0  # nothing but zeros came
        sizes = (np.arange(BINS) + 0.5) * self._top / BINS
        steps = CLIPS * self._largest / LARGEST
        costs = [
            np.sum(self._times * (np.clip(np.rint(sizes / step), 0, LARGEST) * step - sizes) ** 2)
            for step in steps
        ]
        return max(float(steps[int(np.argmin(costs))]), LEAST_SCALE)


class Seen:
    """What the convolutions read, and what the float net answered, on the pictures so far."""

    def __init__(
        self, pixels: Pixels, convs: Sequence[Conv], cuts: Sequence[Shortcut], head: Conv
    ) -> None:
        self._pixels, self._convs, self._cuts, self._head = pixels, convs, cuts, head
        self._read = {conv.name: Histogram() for conv in convs}
        self._given = {cut.gives: Histogram() for cut in cuts}
        self._answers: list[NDArray[np.float64]] = []

    @torch.inference_mode()
    def add(self, crop_1HW3: Tensor) -> None:
        hooks = [
            conv.module.register_forward_pre_hook(
                lambda _, read, values=self._read[conv.name]: values.add(read[0])
            )
            for conv in self._convs
        ]
        hooks += [
            cut.module.register_forward_hook(
                lambda _, __, out, cut=cut: self._given[cut.gives].add(cut.given(out))
            )
            for cut in self._cuts
        ]
        hooks.append(
            self._head.module.register_forward_hook(
                lambda _, __, answer: self._answers.append(_flat(answer)[:, 0])
            )
        )
        before = len(self._answers)
        self._pixels(crop_1HW3)
        for hook in hooks:
            hook.remove()
        if len(self._answers) != before + 1:
            raise BundleError(f"int8 wants a net that runs {self._head.name} once a picture")

    def scales(self) -> dict[str, float]:
        """Of every tensor that is rounded, by its name in the graph."""
        read = {conv.reads: self._read[conv.name].scale() for conv in self._convs}
        return read | {name: histogram.scale() for name, histogram in self._given.items()}

    @torch.inference_mode()
    def fit(
        self, crops: Iterable[Frames], scales: Mapping[str, float]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The head's weight and bias that answer like the float net where the rest is rounded.

        Least squares over the cells where either sees people, a picture by its count: a dense
        crowd must not outvote ten thin ones. The rounding of short cuts that are no convolution is
        left out. The net is of no use afterwards: its weights are rounded.
        """
        features: list[NDArray[np.float64]] = []
        for conv in self._convs:
            weight, scale_C = conv.rounded()
            conv.module.weight.copy_(torch.from_numpy(weight * scale_C.reshape(-1, 1, 1, 1)))
            conv.module.register_forward_pre_hook(
                lambda _, read, step=scales[conv.reads]: _rounded(read[0], step)
            )
        for cut in self._cuts:
            cut.module.register_forward_hook(
                lambda _, __, out, step=scales[cut.gives]: _rounded(out, step)
            )
        head = self._head.module
        head.register_forward_pre_hook(lambda _, read: features.append(_flat(read[0])))
        trained = np.concatenate([_flat(head.weight)[0], _bias(head)])
        normal, wanted = np.zeros((len(trained), len(trained))), np.zeros(len(trained))
        for crop_1HW3, answer in zip(crops, self._answers, strict=True):
            self._pixels(torch.from_numpy(crop_1HW3))
            read = np.pad(features.pop(), ((0, 0), (0, 1)), constant_values=1.0)
            rounded = read @ trained
            people = np.maximum(answer, rounded) > 0
            share = 1 / (answer.clip(min=0).sum() + 1)
            normal += share * read[people].T @ read[people]
            wanted += share * read[people].T @ (answer - rounded)[people]
        ridge = RIDGE * np.trace(normal) / len(trained) or 1.0
        fitted = trained + np.linalg.solve(normal + ridge * np.eye(len(trained)), wanted)
        shape = tuple(head.weight.shape)
        return fitted[:-1].reshape(shape).astype(np.float32), fitted[-1:].astype(np.float32)


def _rounded(values: Tensor, step: float) -> Tensor:
    return (values / step).round().clamp(-LARGEST, LARGEST) * step


def _flat(maps_1Chw: Tensor) -> NDArray[np.float64]:
    """Cells x channels. A 1 x 1 convolution's weight of one output channel fits too."""
    flat: NDArray[np.float64] = maps_1Chw[0].flatten(1).T.double().numpy()
    return flat


def _bias(conv: nn.Conv2d) -> NDArray[np.float64]:
    assert conv.bias is not None  # `convolutions` refuses others
    bias: NDArray[np.float64] = conv.bias.double().numpy()
    return bias
