"""What ONNX Runtime keeps beyond the contract of every engine."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from deploy.bundle import MANIFEST, MODEL, Bundle, Manifest, digest_of, open_bundle
from deploy.card import describe
from deploy.engines import BACKENDS, Precision, load_engine
from deploy.engines.onnxruntime import OnnxRuntimeEngine
from models.errors import EngineError

pytestmark = pytest.mark.skipif(
    bool(BACKENDS["onnxruntime"].unavailable()), reason="onnxruntime is not installed"
)
SEALED = "ONNX Runtime cannot load bundle tiny: .*External data"


@pytest.fixture
def copy(tiny: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.folder, tmp_path / "tiny"))


def unchecked(folder: Path) -> Bundle:
    """Whatever lies in the folder: `open_bundle` would refuse it before any engine saw it."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    return Bundle(folder, manifest)


def test_weights_outside_the_model_file_are_refused_though_they_lie_beside_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(copy / MODEL)
    onnx.save_model(
        model, copy / MODEL, save_as_external_data=True, location="weights.bin", size_threshold=64
    )
    assert (copy / "weights.bin").stat().st_size > 0
    for folder in (copy, copy.parent):
        monkeypatch.chdir(folder)
        with pytest.raises(EngineError, match=SEALED) as refused:
            load_engine(unchecked(copy), name="onnxruntime")
        assert "\n" not in str(refused.value)


def test_a_file_that_is_no_model_is_one_line(copy: Path) -> None:
    (copy / MODEL).write_bytes(b"not a model\n")
    with pytest.raises(EngineError, match="ONNX Runtime cannot load bundle tiny: ") as refused:
        load_engine(unchecked(copy), name="onnxruntime")
    assert "\n" not in str(refused.value)


def test_int8_runs_its_own_graph_and_only_when_asked_for(tiny: Bundle, copy: Path) -> None:
    model = onnx.load(copy / MODEL)
    (bias,) = [one for one in model.graph.initializer if one.name.endswith("head.out.bias")]
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 1, bias.name))
    onnx.save_model(model, copy / "model.int8.onnx")
    manifest, digest = tiny.manifest, digest_of(copy / "model.int8.onnx")
    coarse = {
        "precisions": {**manifest.precisions, "int8": "model.int8.onnx"},
        "files": {**manifest.files, "model.int8.onnx": digest},
    }
    describe(copy, manifest.model_copy(update=coarse))
    bundle, frames_NHW3 = open_bundle(str(copy)), np.full((1, 16, 16, 3), 99, np.uint8)
    assert BACKENDS["onnxruntime"].precisions(bundle) == ["int8", "fp32"]
    every: tuple[Precision, ...] = ("fp32", "int8", "auto")
    maps = {}
    for precision in every:
        engine = OnnxRuntimeEngine(bundle, precision=precision, lanes=1)
        maps[precision] = engine.submit(frames_NHW3).result()
        engine.close()
    np.testing.assert_allclose(maps["int8"], maps["fp32"] + 1, rtol=1e-5)
    np.testing.assert_array_equal(maps["auto"], maps["fp32"])


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_precision_that_it_lacks_is_refused_with_those_it_has(
    tiny: Bundle, precision: str
) -> None:
    with pytest.raises(EngineError, match=f"in fp32, not in {precision}: set precision to auto"):
        load_engine(tiny, name="onnxruntime", precision=precision)  # type: ignore[arg-type]


def test_it_has_as_many_lanes_as_cores_and_starts_no_thread_that_is_not_ours(tiny: Bundle) -> None:
    before = tasks()
    engine = load_engine(tiny, name="onnxruntime")
    assert engine.lanes == len(os.sched_getaffinity(0))
    maps = [engine.submit(np.zeros((1, 16, 16, 3), np.uint8)) for _ in range(8)]
    assert all(one.result().shape == (1, 2, 2) for one in maps)
    ours = {t.native_id for t in threading.enumerate() if t.name.startswith("onnxruntime")}
    assert tasks() - before == ours
    assert len(ours) <= engine.lanes
    engine.close()


def test_it_computes_on_several_lanes_at_once(tiny: Bundle) -> None:
    """Two runs meet inside the session: neither waits for the other to leave it."""
    engine = OnnxRuntimeEngine(tiny, precision="fp32", lanes=2)
    meet, inner = threading.Barrier(2, timeout=30), engine._session

    class Meeting:
        def run(self, *given: object) -> object:
            meet.wait()
            return inner.run(*given)

    engine._session = Meeting()
    maps = [engine.submit(np.zeros((1, 16, 16, 3), np.uint8)) for _ in range(2)]
    assert all(one.result().shape == (1, 2, 2) for one in maps)
    engine.close()


def tasks() -> set[int]:
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}
