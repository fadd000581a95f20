"""What OpenVINO's graphs are told before they are compiled: the counts stay, the time or the
precision does not.
"""

from typing import Any

import numpy as np

LEVELS = 65_535  # of 65,536 OpenVINO thinks that it rounds nothing, and takes it away
WIDE = 8.0  # as far as the sum's own int8 goes: then a level is a 32nd of a step of it


def keep_head_in_fp32(model: Any) -> None:
    """Write the last 1 x 1 convolution to one channel as a product and a sum, which OpenVINO leaves
    in fp32, as training does. With weights in bf16 all counts move together, by 0.1 %.
    """
    from openvino import opset13 as ops

    convolutions = [op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    head = convolutions[-1]
    features, weights = head.input_value(0), head.input_value(1)
    if list(weights.get_shape())[0::2] != [1, 1]:  # (out, in, height, width)
        return
    per_channel = ops.reshape(weights, np.array([1, -1, 1, 1]), special_zero=False)
    product = ops.multiply(features, per_channel)
    head.output(0).replace(ops.reduce_sum(product, np.array([1]), keep_dims=True).output(0))
    model.validate_nodes_and_infer_types()


def sum_in_convolutions(model: Any) -> None:
    """Let a convolution add its int8 short cut itself, and write int8.

    OpenVINO does so only if one of both summands was quantised for the sum alone. Else the
    convolution writes bf16, and a layer of its own adds, cuts off at zero and quantises. So what
    the convolution gives is quantised here, far finer than the sum is right after it.
    """
    from openvino import opset13 as ops

    for add in model.get_ordered_ops():
        before = _convolved(add)
        after = _next(_next(add, "Relu"), "FakeQuantize")
        if before is None or after is None:
            continue
        top = WIDE * after.input_value(4).get_node().get_data().max()
        ends = [np.float32(-top), np.float32(top)]
        quantised = ops.fake_quantize(before.get_source_output(), *ends, *ends, LEVELS)
        before.replace_source_output(quantised.output(0))
    model.validate_nodes_and_infer_types()


def _convolved(add: Any) -> Any | None:
    """The input of a sum that is a convolution with its bias, where the other is none."""
    kinds = [value.get_node().get_type_name() for value in add.input_values()]
    is_sum = add.get_type_name() == "Add" and kinds.count("Add") == 1
    return add.input(kinds.index("Add")) if is_sum else None


def _next(op: Any | None, kind: str) -> Any | None:
    """The one reader of what an operation gives, if it is of that kind."""
    readers = [] if op is None else [one.get_node() for one in op.output(0).get_target_inputs()]
    return readers[0] if [one.get_type_name() for one in readers] == [kind] else None
