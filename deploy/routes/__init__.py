"""Ways to an int8 graph, for `deploy.compare`: every public function in this folder's files is one.

It gets a bundle and crops to calibrate on, and gives a graph that takes what the bundle's own
takes; the bundle stays as it is. What convolutions multiply has 8 bits, with a scale an output
channel for weights, and the last convolution stays in float. A route whose package is not installed
raises ModuleNotFoundError.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx

from deploy.bundle import Bundle
from deploy.engines import Frames
from models.errors import ConfigError
from models.plugins import functions_of

Crops = Sequence[Frames]  # each 1 x SIDE x SIDE x 3
Route = Callable[[Bundle, Crops], onnx.ModelProto]


def routes() -> dict[str, Route]:
    """By name. What a route does is the first line of its docstring."""
    return functions_of(__name__)


def chosen(names: Sequence[str]) -> dict[str, Route]:
    """Those of these names, or all. Raises ConfigError for a name that is not there."""
    known = routes()
    for name in names:
        if name not in known:
            raise ConfigError(f"no route {name!r}; there are {', '.join(sorted(known))}")
    return {name: known[name] for name in names or known}


def last_convolution(model: onnx.ModelProto) -> str:
    """The name of its node."""
    *_, last = [node for node in model.graph.node if node.op_type == "Conv"]
    return str(last.name)


def read(path: Path) -> onnx.ModelProto:
    """A graph that a tool wrote, without the operator sets that it names and does not use."""
    model = onnx.load(path)
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model
