"""The rules that every ONNX file of a bundle keeps, so that OpenVINO, ONNX Runtime and TensorRT's
parser all take it and fuse it. `lint` gives what breaks them, in words.

They follow TensorRT's explicit quantisation: symmetric int8 (zero point 0), one scale a tensor for
activations and one an output channel for weights, Q/DQ before what is weighted and never between a
convolution and its ReLU, biases in float.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from models.errors import BundleError

OPSET = 20  # the highest that TensorRT 10.0 reads
LEAST_SCALE = 2.0**-14  # the least normal float16: TensorRT keeps scales in half precision
OPS = {
    "Abs", "Add", "AveragePool", "Cast", "Concat", "Constant", "Conv", "ConvTranspose",
    "DequantizeLinear", "Div", "InstanceNormalization", "MaxPool", "Mul", "QuantizeLinear",
    "ReduceMax", "Relu", "Reshape", "Resize", "Squeeze", "Sub", "Transpose",
}  # fmt: skip
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
FACES = {"frames": (TensorProto.UINT8, 4, 3), "density": (TensorProto.FLOAT, 3, 3)}
"""Name of an input or output: type, number of sizes, and how many of the first are symbolic."""


def lint(model: onnx.ModelProto) -> list[str]:
    """Every broken rule; none for a file that may ship."""
    view = _View.of(model)
    rules = (
        _opset, _ops, _faces, _one_file, _one_float, _zero_points, _scales, _no_int32,
        _weight_scales, _placement, _biases,
    )  # fmt: skip
    return [broken for rule in rules for broken in rule(view)]


def refuse_broken(model: onnx.ModelProto, name: str) -> None:
    """Raises BundleError, in one line, where a rule is broken."""
    if broken := lint(model):
        raise BundleError(f"{name} breaks {len(broken)} rules of deploy/lint.py: {broken[0]}")


@dataclass(frozen=True)
class _View:
    """A graph by tensor name: who makes a tensor, who reads it, which are constant."""

    model: onnx.ModelProto
    makers: dict[str, NodeProto]
    readers: dict[str, list[NodeProto]]
    constants: dict[str, TensorProto]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> "_View":
        readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        makers = {name: node for node in model.graph.node for name in node.output}
        return cls(model, makers, readers, {one.name: one for one in model.graph.initializer})

    def nodes(self, *ops: str) -> Iterator[NodeProto]:
        return (node for node in self.model.graph.node if node.op_type in ops)

    def array(self, name: str) -> NDArray[np.generic] | None:
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def op_of(self, name: str) -> str:
        return self.makers[name].op_type if name in self.makers else ""

    def pooled(self, name: str) -> str:
        """What a tensor is the largest of: maxima of int8 are int8."""
        while self.op_of(name) == "MaxPool":
            name = self.makers[name].input[0]
        return name


def _opset(view: _View) -> Iterator[str]:
    for used in view.model.opset_import:
        if used.domain:
            yield f"opset domain {used.domain!r}: only ONNX's own is allowed"
        elif used.version > OPSET:
            yield f"opset {used.version}: wanted {OPSET} or lower"


def _ops(view: _View) -> Iterator[str]:
    for node in view.model.graph.node:
        if node.domain or node.op_type not in OPS:
            yield f"{node.name}: operator {node.domain}{node.op_type} is not on the list"


def _faces(view: _View) -> Iterator[str]:
    graph = view.model.graph
    values = [*graph.input, *graph.output]
    if [value.name for value in values] != list(FACES):
        yield f"inputs and outputs are {[v.name for v in values]}, wanted {list(FACES)}"
        return
    for value in values:
        kind, sizes, free = FACES[value.name]
        tensor = value.type.tensor_type
        if tensor.elem_type != kind:
            yield f"{value.name} is {_type(tensor.elem_type)}, wanted {_type(kind)}"
        named = [bool(size.dim_param) for size in tensor.shape.dim]
        if len(named) != sizes or not all(named[:free]):
            yield f"{value.name}: wanted {sizes} sizes, the first {free} of them symbolic"


def _one_file(view: _View) -> Iterator[str]:
    for tensor in view.model.graph.initializer:
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            yield f"{tensor.name} lies outside the file"


def _one_float(view: _View) -> Iterator[str]:
    kinds = {one.data_type for one in view.model.graph.initializer} & FLOATS
    if len(kinds) > 1:
        yield f"floats of several types: {', '.join(sorted(map(_type, kinds)))}"


def _zero_points(view: _View) -> Iterator[str]:
    for node in view.nodes("QuantizeLinear", "DequantizeLinear"):
        zero = view.array(node.input[2]) if len(node.input) > 2 else None
        if zero is None or zero.dtype != np.int8 or zero.any():
            yield f"{node.name}: the zero point must be there, constant, int8 and 0"


def _scales(view: _View) -> Iterator[str]:
    for node in view.nodes("QuantizeLinear", "DequantizeLinear"):
        scale = view.array(node.input[1])
        if scale is None or not np.all(scale.astype(np.float64) >= LEAST_SCALE):
            yield f"{node.name}: its scale must be constant and no less than {LEAST_SCALE:g}"


def _no_int32(view: _View) -> Iterator[str]:
    for node in view.nodes("DequantizeLinear"):
        values = view.array(node.input[0])
        if values is not None and values.dtype != np.int8:
            yield f"{node.name} reads {values.dtype}: only int8 may be dequantised"


def _weight_scales(view: _View) -> Iterator[str]:
    for conv in view.nodes("Conv"):
        maker = view.makers.get(conv.input[1])
        if maker is None or maker.op_type != "DequantizeLinear":
            continue
        weight, scale = view.array(maker.input[0]), view.array(maker.input[1])
        axis = next((a.i for a in maker.attribute if a.name == "axis"), 1)
        if weight is None or scale is None or scale.shape != weight.shape[:1] or axis != 0:
            yield f"{conv.name}: its weights need one scale an output channel, on axis 0"
        if view.op_of(view.pooled(conv.input[0])) != "DequantizeLinear":
            yield f"{conv.name}: its weights are int8 and its input is not"


def _placement(view: _View) -> Iterator[str]:
    for node in view.nodes("QuantizeLinear"):
        if view.op_of(node.input[0]) != "Conv":
            continue
        after = [
            r
            for q in view.readers.get(node.output[0], [])
            for r in view.readers.get(q.output[0], [])
        ]
        if any(reader.op_type == "Relu" for reader in after):
            yield f"{node.name} stands between a Conv and its Relu"


def _biases(view: _View) -> Iterator[str]:
    for conv in view.nodes("Conv"):
        bias = view.constants.get(conv.input[2]) if len(conv.input) > 2 else None
        if len(conv.input) > 2 and (bias is None or bias.data_type not in FLOATS):
            yield f"{conv.name}: its bias must be constant and float"


def _type(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()
