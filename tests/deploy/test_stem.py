"""The stem reads more channels at a time and answers the same."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import deploy.quantise
from deploy.bundle import Bundle, open_bundle, shipped
from deploy.parity import pictures_of
from deploy.stem import pixels_as_channels


def answers(model: Path, frames_NHW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    onnxruntime = pytest.importorskip("onnxruntime")
    density: NDArray[np.float32] = onnxruntime.InferenceSession(model).run(
        None, {"frames": frames_NHW3}
    )[0]
    return density


def test_a_patch_stem_reads_four_pixels_as_one_and_answers_the_same(
    tiny: Bundle, tiny_int8: Bundle, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy.quantise, "pixels_as_channels", lambda _, multiple: None)
    plain = open_bundle(str(shutil.copytree(tiny.folder, tmp_path / "tiny")))
    deploy.quantise.quantise(plain, (picture.read() for picture in pictures_of(split)))
    plain = open_bundle(str(plain.folder))
    assert _kernel(plain) == (64, 3, 4, 4)
    assert _kernel(tiny_int8) == (64, 12, 4, 1)
    frames_NHW3 = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    want = answers(plain.model("int8"), frames_NHW3)
    np.testing.assert_allclose(answers(tiny_int8.model("int8"), frames_NHW3), want, atol=1e-5)


def test_other_stems_and_a_second_time_change_nothing() -> None:
    for name in shipped():
        model = onnx.load(open_bundle(name).model("int8"))
        before = model.SerializeToString()
        pixels_as_channels(model, multiple=16)
        assert model.SerializeToString() == before


def _kernel(bundle: Bundle) -> tuple[int, ...]:
    constants = onnx.load(bundle.model("int8")).graph.initializer
    stem = next(one for one in constants if one.name == "net.trunk.conv1.weight.int8")
    return tuple(stem.dims)
