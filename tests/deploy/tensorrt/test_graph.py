"""The ONNX that TensorRT gets, run on the CPU: half precision counts like the net."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from deploy.bundle import Bundle, open_bundle, shipped
from deploy.engines.tensorrt import source_of
from deploy.engines.tensorrt.graph import prepared
from models.errors import EngineError

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)


def run(content: bytes) -> NDArray[np.float32]:
    """As the graph says: fused nodes would round int8 in other places."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    maps: NDArray[np.float32] = session.run(None, {"frames": FRAMES})[0]
    return maps


def types_of(content: bytes) -> set[int]:
    """Of the weights: how far Resize scales is always told in float32."""
    graph = onnx.load_from_string(content).graph
    scales = {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    return {one.data_type for one in graph.initializer if one.dims and one.name not in scales}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", shipped())
def test_every_model_that_ships_casts_its_frames_first_and_answers_the_same(
    name: str, precision: str
) -> None:
    path = source_of(open_bundle(name), precision)
    content = prepared(path, half=precision == "fp16")
    first = [node for node in onnx.load_from_string(content).graph.node if "frames" in node.input]
    assert [node.op_type for node in first] == ["Cast"]
    gap = 0.01 if precision == "fp16" else 1e-5
    np.testing.assert_allclose(run(content), run(path.read_bytes()), atol=gap)


def test_half_precision_counts_like_the_net_and_gives_float32(tiny: Bundle) -> None:
    before = run(tiny.model("fp32").read_bytes())
    content = prepared(tiny.model("fp32"), half=True)
    after = run(content)
    assert after.dtype == np.float32
    np.testing.assert_allclose(after, before, atol=0.01)
    assert after.sum() == pytest.approx(before.sum(), rel=0.01)
    assert onnx.TensorProto.FLOAT not in types_of(content)


def test_int8_answers_the_same_and_keeps_its_scales(tiny: Bundle, tmp_path: Path) -> None:
    """A Q/DQ pair before each convolution, as explicit quantisation has it."""
    path = tmp_path / "model.int8.onnx"
    onnx.save(quantised(onnx.load(tiny.model("fp32"))), path)
    content = prepared(path, half=False)
    np.testing.assert_allclose(run(content), run(path.read_bytes()), atol=1e-5)
    assert onnx.TensorProto.FLOAT16 not in types_of(content)


def test_numbers_that_float16_cannot_hold_are_refused(tiny: Bundle, tmp_path: Path) -> None:
    model = onnx.load(tiny.model("fp32"))
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    values = onnx.numpy_helper.to_array(weight) * 1e9
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "loud.onnx")
    with pytest.raises(EngineError, match="numbers that float16 cannot: use fp32"):
        prepared(tmp_path / "loud.onnx", half=True)


def test_a_graph_that_is_none_is_refused_in_one_line(tiny: Bundle, tmp_path: Path) -> None:
    model = onnx.load(tiny.model("fp32"))
    model.graph.node[3].input[0] = "nowhere"
    onnx.save(model, tmp_path / "broken.onnx")
    with pytest.raises(EngineError, match=r"broken\.onnx cannot be made ready") as refused:
        prepared(tmp_path / "broken.onnx", half=True)
    assert "\n" not in str(refused.value)


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Symmetric int8 in front of every convolution's input."""
    graph, nodes = model.graph, []
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.05, np.float32), "scale"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.int8), "zero"))
    for number, node in enumerate(graph.node):
        if node.op_type == "Conv":
            q, dq = f"q{number}", f"dq{number}"
            for kind, one, two in (("Quantize", node.input[0], q), ("Dequantize", q, dq)):
                names = [one, "scale", "zero"]
                nodes.append(onnx.helper.make_node(f"{kind}Linear", names, [two]))
            node.input[0] = dq
        nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return model
