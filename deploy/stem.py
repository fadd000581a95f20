"""A patch stem as int8 engines run it fastest: neighbours in a row become channels of one pixel.

A convolution whose kernel is as wide as its step (4 x 4, stride 4) reads every pixel once. Rows of
uint8 RGB already lie in memory as W / 4 pixels of 12 channels, so a Reshape that moves nothing lets
the first convolution fill its registers with 12 numbers instead of 3: half a millisecond less a
frame of 768 x 432. What comes before it, the normalisation, reads more pixels still as one, as many
as the width is a multiple of. The sums are the same, in another order.
"""

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

CHAIN = ("Transpose", "Cast", "Sub", "Div", "QuantizeLinear", "DequantizeLinear", "Conv")
"""From the frames to the first convolution, as our exporter and quantiser write it."""


def pixels_as_channels(model: onnx.ModelProto, *, multiple: int) -> None:
    """Change the first convolution of an int8 graph, if it is a patch stem; else nothing.

    `multiple`: of pixels, that widths have.
    """
    chain = _chain(model.graph)
    if [node.op_type for node in chain] != list(CHAIN) or not _is_patch(chain[-1]):
        return
    transpose, cast, sub, div, quantise, _, conv = chain
    constants = {one.name: one for one in model.graph.initializer}
    weight = constants[conv.input[1].replace(".rounded", ".int8")]
    kernel_O3kk = numpy_helper.to_array(weight)
    channels, side = kernel_O3kk.shape[1:3]
    wide = kernel_O3kk.transpose(0, 3, 1, 2).reshape(len(kernel_O3kk), side * channels, side, 1)
    weight.CopyFrom(numpy_helper.from_array(wide, weight.name))
    _set(conv, kernel_shape=[side, 1], strides=[side, 1])
    for node in (sub, div):
        colour = constants[node.input[1]]
        tiled = np.tile(numpy_helper.to_array(colour).ravel(), multiple).reshape(1, 1, 1, -1)
        colour.CopyFrom(numpy_helper.from_array(tiled, colour.name))
    row = _as_pixels_of(multiple * channels, transpose.input[0], model.graph, name="side_by_side")
    patch = _as_pixels_of(side * channels, div.output[0], model.graph, name="patches")
    cast.input[0], transpose.input[0] = row.output[0], patch.output[0]
    quantise.input[0] = transpose.output[0]
    moved = (transpose, cast, sub, div)
    others = [node for node in model.graph.node if node not in moved]
    del model.graph.value_info[:]  # notes of sizes, of which some are wrong now
    del model.graph.node[:]
    model.graph.node.extend([row, cast, sub, div, patch, transpose, *others])


def _as_pixels_of(channels: int, read: str, graph: onnx.GraphProto, *, name: str) -> NodeProto:
    """The same numbers in pixels of so many channels: a Reshape."""
    shape = np.array([0, 0, -1, channels], np.int64)
    graph.initializer.append(numpy_helper.from_array(shape, name))
    return helper.make_node("Reshape", [read, name], [f"{name}.out"], name=name)


def _chain(graph: onnx.GraphProto) -> list[NodeProto]:
    """The nodes that read the frames one after the other, up to a convolution or a fork."""
    chain: list[NodeProto] = []
    name = graph.input[0].name
    while not chain or chain[-1].op_type != "Conv":
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1:
            break
        chain += readers
        name = readers[0].output[0]
    return chain


def _is_patch(conv: NodeProto) -> bool:
    its = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
    side = its["kernel_shape"][0]
    square = list(its["kernel_shape"]) == list(its["strides"]) == [side, side]
    return square and not any(its["pads"])


def _set(node: NodeProto, **attributes: list[int]) -> None:
    for attribute in node.attribute:
        if attribute.name in attributes:
            attribute.CopyFrom(helper.make_attribute(attribute.name, attributes[attribute.name]))
