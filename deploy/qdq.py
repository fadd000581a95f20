"""Q/DQ in a graph: which tensors are rounded for whom, and the nodes that say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper
from torch import Tensor, nn

from deploy.bundle import MODEL
from deploy.lint import LEAST_SCALE
from models.errors import BundleError
from models.nets import Pixels

LARGEST = 127  # symmetric: -128 is not used


@dataclass(frozen=True)
class Conv:
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


@dataclass(frozen=True)
class Shortcut:
    """A convolution that is added to another, as it is or behind its ReLU or enlarged."""

    module: nn.Conv2d
    gives: str  # the tensor that is rounded for the sum, before it is enlarged
    is_positive: bool
    is_enlarged: bool

    def given(self, out: Tensor) -> Tensor:
        return out.relu() if self.is_positive else out

    def cost(self) -> tuple[bool, int]:
        return not self.is_enlarged, self.module.weight.numel()


def convolutions(model: onnx.ModelProto, pixels: Pixels) -> list[Conv]:
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
        convs.append(Conv(name, module, node, _before("MaxPool", node.input[0], makers)[0]))
    return convs


def shortcuts(model: onnx.ModelProto, convs: Sequence[Conv]) -> list[Shortcut]:
    """Of two convolutions that are added the enlarged one, else the lighter one."""
    makers = {name: node for node in model.graph.node for name in node.output}
    modules = {conv.node.output[0]: conv.module for conv in convs}
    cuts = []
    for node in model.graph.node:
        if node.op_type == "Add":
            added = [_shortcut(name, makers, modules) for name in node.input]
            both = [cut for cut in added if cut is not None]
            if len(both) == len(added):
                cuts.append(min(both, key=Shortcut.cost))
    return cuts


def _shortcut(
    name: str, makers: Mapping[str, NodeProto], modules: Mapping[str, nn.Conv2d]
) -> Shortcut | None:
    """Back from what is added to the convolution, if there is one."""
    gives, is_enlarged = _before("Resize", name, makers)
    conv, is_positive = _before("Relu", gives, makers)
    return Shortcut(modules[conv], gives, is_positive, is_enlarged) if conv in modules else None


def _before(op_type: str, name: str, makers: Mapping[str, NodeProto]) -> tuple[str, bool]:
    """What an operation of that type reads to make a tensor; else the tensor itself."""
    is_so = name in makers and makers[name].op_type == op_type
    return (makers[name].input[0], True) if is_so else (name, False)


def insert(model: onnx.ModelProto, convs: Sequence[Conv], scales: Mapping[str, float]) -> None:
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
    put(model, sides[0], np.float32(scale))
    put(model, sides[1], np.int8(0))
    whole = f"{name}.int8"
    return [
        helper.make_node("QuantizeLinear", [name, *sides], [whole], name=f"quantise_{name}"),
        helper.make_node(
            "DequantizeLinear", [whole, *sides], [f"{name}.rounded"], name=f"dequantise_{name}"
        ),
    ]


def _weight(model: onnx.ModelProto, conv: Conv) -> NodeProto:
    name = conv.node.input[1]
    values, scale_C = conv.rounded()
    parts = {"int8": values, "scale": scale_C, "zero": np.zeros(len(values), np.int8)}
    for part, array in parts.items():
        put(model, f"{name}.{part}", array)
    inputs = [f"{name}.{part}" for part in parts]
    outputs = [f"{name}.rounded"]
    return helper.make_node("DequantizeLinear", inputs, outputs, name=f"dequantise_{name}", axis=0)


def put(model: onnx.ModelProto, name: str, array: Any) -> None:
    """An initialiser, in place of an older one of that name."""
    others = [one for one in model.graph.initializer if one.name != name]
    _replace_all(model.graph.initializer, [*others, numpy_helper.from_array(array, name)])


def _replace_all(field: Any, values: Sequence[Any]) -> None:
    kept = list(values)
    del field[:]
    field.extend(kept)
