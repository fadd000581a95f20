"""The ONNX that TensorRT gets: a bundle's, with types that a strongly typed network builds from.

A strongly typed network computes in the types that the graph names, so half precision is a half
precision graph. What is not int8 in an int8 graph stays float32: float16 scales alone move counts
by half a percent, and products of them vanish. And TensorRT wants a uint8 input cast before
anything else touches it, where the export transposes first and a patch stem reshapes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.errors import EngineError

if TYPE_CHECKING:
    import onnx

MOVES = ("Reshape", "Transpose")
SIZES_OF = {"Resize": (1, 2)}
"""Inputs that stay float32 in any precision: not values, but how large to make them."""


def prepared(path: Path, *, half: bool) -> bytes:
    """The serialised graph, its arithmetic in float16 where `half`. Frames and maps keep theirs.

    Raises EngineError for a graph that float16 cannot hold.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    _cast_first(model.graph)
    if half:
        _to_half(model.graph)
    del model.graph.value_info[:]  # the types in between follow from the rest
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise EngineError(f"{path.name} cannot be made ready for TensorRT: {reason}") from error
    return bytes(model.SerializeToString())


def _cast_first(graph: "onnx.GraphProto") -> None:
    """Bring the first Cast before the nodes that only move pixels: the result is the same."""
    frames = graph.input[0].name
    moves: list[onnx.NodeProto] = []
    name = frames
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1 or readers[0].op_type not in ("Cast", *MOVES):
            return
        if readers[0].op_type == "Cast":
            break
        moves += readers
        name = readers[0].output[0]
    if not moves:
        return
    cast = graph.node.pop(list(graph.node).index(readers[0]))
    first, last = moves[0], moves[-1]
    last.output[0], cast.output[0] = cast.output[0], last.output[0]
    cast.input[0], first.input[0] = frames, cast.output[0]
    graph.node.insert(0, cast)


def _to_half(graph: "onnx.GraphProto") -> None:
    """Every float32 of the graph becomes float16, but sizes; the map is cast back at the end."""
    import onnx

    single, half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    kept = {
        node.input[index]
        for node in graph.node
        for index in SIZES_OF.get(node.op_type, ())
        if index < len(node.input)
    }
    for name, tensor in _constants(graph):
        if tensor.data_type == single and name not in kept:
            _halve(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == single:
                attribute.i = half
    _cast_back(graph)


def _constants(graph: "onnx.GraphProto") -> "Iterator[tuple[str, onnx.TensorProto]]":
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], one.t) for one in node.attribute if one.name == "value")


def _halve(tensor: "onnx.TensorProto") -> None:
    import onnx

    values = onnx.numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not np.isfinite(halves).all():
        raise EngineError(f"{tensor.name} holds numbers that float16 cannot: use fp32")
    tensor.CopyFrom(onnx.numpy_helper.from_array(halves, tensor.name))


def _cast_back(graph: "onnx.GraphProto") -> None:
    import onnx

    density = graph.output[0].name
    inner = f"{density}_half"
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == density:
                    names[index] = inner
    graph.node.append(onnx.helper.make_node("Cast", [inner], [density], to=onnx.TensorProto.FLOAT))
