"""Adds `model.int8.onnx` to a bundle: explicit Q/DQ, from the trained net and some real pictures.

Every convolution but the last reads int8 and has int8 weights. A tensor's scale is the one whose
rounding and clipping together cost least (mean squared error over a histogram of its values);
weights have a scale an output channel, from their largest value. Whoever reads a rounded tensor
reads it rounded, short cuts and pooling too, so that engines keep it in int8. Rounding takes a ReLU
net's small responses away more often than it adds any, so it counts too few: the last convolution
stays in float and is fitted again, in closed form, to what the net says of the same pictures.

Shapes: N frames, H x W pixels, h x w cells, C channels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper
from torch import Tensor, nn

from deploy.bundle import MODEL, MODEL_INT8, Bundle, digest_of
from deploy.card import describe
from deploy.engines import Frames
from deploy.lint import LEAST_SCALE, refuse_broken
from deploy.stem import pixels_as_channels
from models.checkpoint import load_checkpoint
from models.errors import BundleError, DataError
from models.geometry import pad
from models.nets import Pixels
from models.progress import tracked
from models.whole import whole

Image = NDArray[np.uint8]

SIDE = 512  # of the crops to calibrate on
LARGEST = 127  # symmetric: -128 is not used
BINS = 2048
CLIPS = np.linspace(0.1, 1.0, 91)  # tried shares of the largest value
RIDGE = 1e-4  # keeps the fitted head close to the trained one where the pictures say little


def quantise(bundle: Bundle, frames: Iterable[Image]) -> None:
    """Add int8 to a bundle, from uint8 RGB pictures of any size; an older int8 is replaced.

    Raises DataError without pictures, BundleError where the net is of a kind that int8 cannot have.
    """
    crops = crops_of(frames)
    model = int8_of(bundle, crops)
    refuse_broken(model, MODEL_INT8)
    put_int8(bundle, model, pictures=len(crops))


def crops_of(frames: Iterable[Image]) -> list[Frames]:
    """One square from anywhere in each picture, 1 x SIDE x SIDE x 3, always the same for the same
    pictures. Raises DataError without pictures.
    """
    rng = np.random.default_rng(0)
    crops = []
    for frame_HW3 in frames:
        height, width = (max(side, SIDE) for side in frame_HW3.shape[:2])
        padded = pad(frame_HW3, (height, width))
        y, x = rng.integers(0, height - SIDE + 1), rng.integers(0, width - SIDE + 1)
        crops.append(padded[None, y : y + SIDE, x : x + SIDE].copy())
    if not crops:
        raise DataError("no pictures to calibrate on")
    return crops


def int8_of(bundle: Bundle, crops: Sequence[Frames]) -> onnx.ModelProto:
    """A bundle's graph in int8. Raises BundleError for a net of a kind that int8 cannot have."""
    pixels = Pixels(load_checkpoint(bundle.weights).net).eval().requires_grad_(False)
    model = onnx.load(bundle.model("fp32"), load_external_data=False)
    *convs, head = _convs(model, pixels)
    seen = _Seen(pixels, convs, head)
    for crop_1HW3 in tracked("calibrating", total=len(crops))(crops):
        seen.add(torch.from_numpy(crop_1HW3))
    scales = {conv.reads: seen.values[conv.name].scale() for conv in convs}
    fitted = seen.fit(tracked("fitting the head", total=len(crops))(crops), scales)
    names = [f"{head.name}.weight", f"{head.name}.bias"]
    head.node.input[1:] = names  # the exporter leaves a bias of zeros out
    for name, array in zip(names, fitted, strict=True):
        _put(model, name, array)
    _insert(model, convs, scales)
    pixels_as_channels(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def put_int8(bundle: Bundle, model: onnx.ModelProto, *, pictures: int) -> None:
    """Make a graph that was calibrated on so many pictures the int8 of a bundle.

    The manifest comes last. An older int8 leaves it first: at no moment does a hash lie. Raises
    DataError where it cannot be written.
    """
    folder, manifest = bundle.folder, bundle.manifest
    without = manifest.model_copy(
        update={
            "precisions": {k: v for k, v in manifest.precisions.items() if k != "int8"},
            "files": {k: v for k, v in manifest.files.items() if k != MODEL_INT8},
            "parity": tuple(row for row in manifest.parity if row.precision != "int8"),
            "calibrated_on": None,
        }
    )
    with whole(folder / MODEL_INT8) as partial:
        onnx.save_model(model, partial, save_as_external_data=False)
        if "int8" in manifest.precisions:
            describe(folder, without)
    added = {
        "precisions": {**without.precisions, "int8": MODEL_INT8},
        "files": {**without.files, MODEL_INT8: digest_of(folder / MODEL_INT8)},
        "calibrated_on": pictures,
    }
    describe(folder, without.model_copy(update=added))


@dataclass(frozen=True)
class _Conv:
    """A convolution in both worlds: the module and the node."""

    name: str
    module: nn.Conv2d
    node: NodeProto
    reads: str  # the tensor that is rounded for it; where it is pooled first, before pooling

    def rounded(self) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Its weights, and a scale an output channel."""
        weight = self.module.weight.detach().numpy()
        tops = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        scale_C = np.maximum(tops / LARGEST, LEAST_SCALE).astype(np.float32)
        return np.rint(weight / scale_C.reshape(-1, 1, 1, 1)).astype(np.int8), scale_C


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


class _Seen:
    """What the convolutions read, and what the float net answered, on the pictures so far."""

    def __init__(self, pixels: Pixels, convs: Sequence[_Conv], head: _Conv) -> None:
        self._pixels, self._convs, self._head = pixels, convs, head
        self.values = {conv.name: Histogram() for conv in convs}
        self._answers: list[NDArray[np.float64]] = []

    @torch.inference_mode()
    def add(self, crop_1HW3: Tensor) -> None:
        hooks = [
            conv.module.register_forward_pre_hook(
                lambda _, read, values=self.values[conv.name]: values.add(read[0])
            )
            for conv in self._convs
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

    @torch.inference_mode()
    def fit(
        self, crops: Iterable[Frames], scales: Mapping[str, float]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The head's weight and bias that answer like the float net where the rest is rounded.

        Least squares over the cells where either sees people, a picture by its count: a dense
        crowd must not outvote ten thin ones. The rounding of short cuts is left out. The net is of
        no use afterwards: its weights are rounded.
        """
        features: list[NDArray[np.float64]] = []
        for conv in self._convs:
            weight, scale_C = conv.rounded()
            conv.module.weight.copy_(torch.from_numpy(weight * scale_C.reshape(-1, 1, 1, 1)))
            conv.module.register_forward_pre_hook(
                lambda _, read, step=scales[conv.reads]: _rounded(read[0], step)
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


def _convs(model: onnx.ModelProto, pixels: Pixels) -> list[_Conv]:
    """The graph's convolutions in its order, each with the module that its weight is named for."""
    modules = dict(pixels.named_modules())
    makers = {name: node for node in model.graph.node for name in node.output}
    convs = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        name = node.input[1].removesuffix(".weight")
        module = modules.get(name)
        if not isinstance(module, nn.Conv2d) or module.bias is None:
            raise BundleError(
                f"{MODEL} has {node.name}: int8 wants plain convolutions of the net with a bias"
            )
        maker = makers.get(node.input[0])
        pooled = maker if maker is not None and maker.op_type == "MaxPool" else None
        convs.append(_Conv(name, module, node, (pooled or node).input[0]))
    return convs


def _insert(model: onnx.ModelProto, convs: Sequence[_Conv], scales: Mapping[str, float]) -> None:
    """Q/DQ before whoever reads a tensor that has a scale, and int8 weights."""
    graph = model.graph
    pairs = {reads: _pair(model, reads, scale) for reads, scale in scales.items()}
    weights = {conv.node.input[1]: _weight(model, conv) for conv in convs}
    placed: set[str] = set()
    nodes: list[NodeProto] = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in pairs:
                nodes += [] if name in placed else pairs[name]
                placed.add(name)
                node.input[index] = f"{name}.rounded"
            elif name in weights:
                nodes.append(weights[name])
                node.input[index] = f"{name}.rounded"
        nodes.append(node)
    _replace_all(graph.node, nodes)
    _replace_all(graph.initializer, [one for one in graph.initializer if one.name not in weights])


def _pair(model: onnx.ModelProto, name: str, scale: float) -> list[NodeProto]:
    sides = [f"{name}.scale", f"{name}.zero"]
    _put(model, sides[0], np.float32(scale))
    _put(model, sides[1], np.int8(0))
    whole = f"{name}.int8"
    return [
        helper.make_node("QuantizeLinear", [name, *sides], [whole], name=f"quantise_{name}"),
        helper.make_node(
            "DequantizeLinear", [whole, *sides], [f"{name}.rounded"], name=f"dequantise_{name}"
        ),
    ]


def _weight(model: onnx.ModelProto, conv: _Conv) -> NodeProto:
    name = conv.node.input[1]
    values, scale_C = conv.rounded()
    parts = {"int8": values, "scale": scale_C, "zero": np.zeros(len(values), np.int8)}
    for part, array in parts.items():
        _put(model, f"{name}.{part}", array)
    inputs = [f"{name}.{part}" for part in parts]
    outputs = [f"{name}.rounded"]
    return helper.make_node("DequantizeLinear", inputs, outputs, name=f"dequantise_{name}", axis=0)


def _put(model: onnx.ModelProto, name: str, array: Any) -> None:
    """An initialiser, in place of an older one of that name."""
    others = [one for one in model.graph.initializer if one.name != name]
    _replace_all(model.graph.initializer, [*others, numpy_helper.from_array(array, name)])


def _replace_all(field: Any, values: Sequence[Any]) -> None:
    kept = list(values)
    del field[:]
    field.extend(kept)


def _rounded(values: Tensor, step: float) -> Tensor:
    return (values / step).round().clamp(-LARGEST, LARGEST) * step


def _flat(maps_1Chw: Tensor) -> NDArray[np.float64]:
    """Cells x channels. A 1 x 1 convolution's weight of one output channel fits too."""
    flat: NDArray[np.float64] = maps_1Chw[0].flatten(1).T.double().numpy()
    return flat


def _bias(conv: nn.Conv2d) -> NDArray[np.float64]:
    assert conv.bias is not None  # `_convs` refuses others
    bias: NDArray[np.float64] = conv.bias.double().numpy()
    return bias
