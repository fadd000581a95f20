"""Each rule of deploy/lint.py, broken by a small edit of a good file, is reported; none else is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from deploy.bundle import Bundle
from deploy.lint import lint, refuse_broken
from models.errors import BundleError

Break = Callable[[onnx.ModelProto], object]


@pytest.fixture
def good(tiny_int8: Bundle) -> onnx.ModelProto:
    return onnx.load(tiny_int8.model("int8"))


def first(model: onnx.ModelProto, op: str) -> NodeProto:
    found: NodeProto = next(node for node in model.graph.node if node.op_type == op)
    return found


def of_weights(model: onnx.ModelProto) -> NodeProto:
    found: NodeProto = next(n for n in model.graph.node if n.name.endswith(".weight"))
    return found


def put(model: onnx.ModelProto, name: str, array: NDArray[np.generic]) -> None:
    (old,) = (one for one in model.graph.initializer if one.name == name)
    old.CopyFrom(numpy_helper.from_array(array, name))


def raise_the_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 22


def name_a_foreign_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def use_another_operator(model: onnx.ModelProto) -> None:
    first(model, "Relu").op_type = "Gelu"


def rename_the_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "pictures"


def take_floats(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def fix_the_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 432


def keep_weights_elsewhere(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def mix_floats(model: onnx.ModelProto) -> None:
    put(model, first(model, "Sub").input[1], np.zeros((1, 3, 1, 1), np.float16))


def shift_the_zero(model: onnx.ModelProto) -> None:
    put(model, first(model, "QuantizeLinear").input[2], np.array(-3, np.int8))


def use_unsigned(model: onnx.ModelProto) -> None:
    put(model, first(model, "QuantizeLinear").input[2], np.array(0, np.uint8))


def leave_the_zero_out(model: onnx.ModelProto) -> None:
    del first(model, "QuantizeLinear").input[2]


def scale_too_finely(model: onnx.ModelProto) -> None:
    put(model, first(model, "QuantizeLinear").input[1], np.array(1e-6, np.float32))


def dequantise_int32(model: onnx.ModelProto) -> None:
    put(model, of_weights(model).input[0], np.zeros((64, 3, 4, 4), np.int32))


def share_one_scale(model: onnx.ModelProto) -> None:
    put(model, of_weights(model).input[1], np.array(0.1, np.float32))


def scale_another_axis(model: onnx.ModelProto) -> None:
    of_weights(model).attribute[0].i = 1


def feed_floats_to_int8_weights(model: onnx.ModelProto) -> None:
    first(model, "Conv").input[0] = first(model, "QuantizeLinear").input[0]


def feed_pooled_floats_to_int8_weights(model: onnx.ModelProto) -> None:
    pool(model, first(model, "QuantizeLinear").input[0])


def pool(model: onnx.ModelProto, name: str) -> None:
    """The first convolution reads that tensor through two poolings."""
    for number in range(2):
        node = helper.make_node("MaxPool", [name], [f"pooled_{number}"], kernel_shape=[1, 1])
        model.graph.node.append(node)
        name = node.output[0]
    first(model, "Conv").input[0] = name


def quantise_before_relu(model: onnx.ModelProto) -> None:
    conv, relu = first(model, "Conv"), first(model, "Relu")
    sides = first(model, "QuantizeLinear").input[1:]
    relu.input[0] = "rounded_early"
    model.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", [conv.output[0], *sides], ["early"], name="early"),
            helper.make_node("DequantizeLinear", ["early", *sides], ["rounded_early"]),
        ]
    )


def compute_the_bias(model: onnx.ModelProto) -> None:
    (conv,) = (node for node in model.graph.node if "net.head.out.bias" in node.input)
    conv.input[2] = "bias_from_elsewhere"


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (raise_the_opset, "opset 22: wanted 20"),
        (name_a_foreign_domain, "opset domain 'com.microsoft'"),
        (use_another_operator, "operator Gelu is not on the list"),
        (rename_the_input, "inputs and outputs are ['pictures', 'density']"),
        (take_floats, "frames is float, wanted uint8"),
        (fix_the_height, "frames: wanted 4 sizes, the first 3 of them symbolic"),
        (keep_weights_elsewhere, "lies outside the file"),
        (mix_floats, "floats of several types: float, float16"),
        (shift_the_zero, "the zero point must be there, constant, int8 and 0"),
        (use_unsigned, "the zero point must be there, constant, int8 and 0"),
        (leave_the_zero_out, "the zero point must be there, constant, int8 and 0"),
        (scale_too_finely, "its scale must be constant and no less than 6.10352e-05"),
        (dequantise_int32, "reads int32: only int8 may be dequantised"),
        (share_one_scale, "one scale an output channel, on axis 0"),
        (scale_another_axis, "one scale an output channel, on axis 0"),
        (feed_floats_to_int8_weights, "its weights are int8 and its input is not"),
        (feed_pooled_floats_to_int8_weights, "its weights are int8 and its input is not"),
        (quantise_before_relu, "early stands between a Conv and its Relu"),
        (compute_the_bias, "its bias must be constant and float"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_rule_is_reported(good: onnx.ModelProto, harm: Break, says: str) -> None:
    harm(good)
    assert [words for words in lint(good) if says in words]
    with pytest.raises(BundleError) as refused:
        refuse_broken(good, "model.int8.onnx")
    assert "\n" not in str(refused.value)


def test_what_is_rounded_may_be_pooled_before_a_convolution(good: onnx.ModelProto) -> None:
    pool(good, first(good, "Conv").input[0])
    assert lint(good) == []


def test_what_ships_keeps_every_rule(tiny_int8: Bundle, shipped_models: list[Path]) -> None:
    own = [tiny_int8.model(precision) for precision in tiny_int8.manifest.precisions]
    for path in (*own, *shipped_models):
        assert lint(onnx.load(path, load_external_data=False)) == []
