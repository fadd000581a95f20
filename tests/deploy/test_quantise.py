"""int8 counts like the net, keeps the rules, and a bundle is whole at every moment."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from deploy.bundle import MODEL_INT8, WEIGHTS, Bundle, digest_of, open_bundle
from deploy.calibration import Histogram
from deploy.card import describe
from deploy.engines import BACKENDS, Frames
from deploy.parity import pictures_of
from deploy.quantise import quantise
from models.checkpoint import load_checkpoint, save_checkpoint
from models.errors import BundleError, DataError
from models.geometry import pad
from models.nets import NETS, Pixels

MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def copy(tiny: Bundle, tmp_path: Path) -> Bundle:
    return open_bundle(str(shutil.copytree(tiny.folder, tmp_path / "tiny")))


@pytest.fixture
def copy_int8(tiny_int8: Bundle, tmp_path: Path) -> Bundle:
    return open_bundle(str(shutil.copytree(tiny_int8.folder, tmp_path / "tiny")))


def pictures(split: Path) -> Iterator[Frames]:
    return (picture.read() for picture in pictures_of(split))


def test_int8_is_added_and_nothing_else_changes(tiny: Bundle, tiny_int8: Bundle) -> None:
    before, after = tiny.manifest, tiny_int8.manifest
    assert after.precisions == {**before.precisions, "int8": MODEL_INT8}
    assert after.files.items() > before.files.items()
    assert after.calibrated_on == 4
    same = {"precisions": before.precisions, "files": before.files, "calibrated_on": None}
    assert after.model_copy(update=same) == before
    assert not list(tiny_int8.folder.glob("*.partial"))


@pytest.mark.parametrize("name", BACKENDS.names())
def test_int8_counts_like_the_net(name: str, tiny_int8: Bundle, split: Path) -> None:
    backend = BACKENDS[name]
    if backend.unavailable() or "int8" not in backend.precisions(tiny_int8):
        pytest.skip(backend.unavailable() or f"{name} has no int8")
    net = Pixels(load_checkpoint(tiny_int8.weights).net).eval()
    engine = backend.load(tiny_int8, precision="int8")
    assert engine.precision == "int8"
    frames_NHW3 = np.stack([pad(next(pictures(split)), (48, 64))] * 2)
    with torch.inference_mode():
        want = net(torch.from_numpy(frames_NHW3)).numpy()
    got = engine.submit(frames_NHW3).result()
    engine.close()
    assert got.shape == want.shape
    assert got.sum() == pytest.approx(want.sum(), rel=0.06)


def test_whatever_is_added_to_a_convolution_is_int8(tiny_int8: Bundle) -> None:
    graph = onnx.load(tiny_int8.model("int8")).graph
    makers = {name: node for node in graph.node for name in node.output}
    sums = [[makers[name] for name in node.input] for node in graph.node if node.op_type == "Add"]
    before = [
        sorted(
            makers[one.input[0]].op_type if one.op_type == "Resize" else one.op_type
            for one in added
        )
        for added in sums
    ]
    assert before == [["Conv", "DequantizeLinear"]] * 4


def test_the_same_pictures_give_the_same_file(copy_int8: Bundle, split: Path) -> None:
    quantise(copy_int8, pictures(split))
    again = open_bundle(str(copy_int8.folder))
    assert again.manifest.files == copy_int8.manifest.files


def test_a_full_disk_leaves_the_old_bundle(
    copy_int8: Bundle, split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx, "save_model", full)
    with pytest.raises(DataError, match=r"int8.onnx cannot be written.*No space left"):
        quantise(copy_int8, pictures(split))
    assert open_bundle(str(copy_int8.folder)) == copy_int8
    assert not list(copy_int8.folder.glob("*.partial"))


def test_without_pictures_nothing_is_made(copy: Bundle) -> None:
    with pytest.raises(DataError, match="no pictures to calibrate on"):
        quantise(copy, [])
    assert not (copy.folder / MODEL_INT8).exists()


def test_a_graph_of_another_net_is_refused(copy: Bundle, split: Path) -> None:
    save_checkpoint(
        copy.weights, NETS["csrnet"](ratio=16), name="csrnet", arguments={"ratio": 16}, facts={}
    )
    hashes = {**copy.manifest.files, WEIGHTS: digest_of(copy.weights)}
    describe(copy.folder, copy.manifest.model_copy(update={"files": hashes}))
    with pytest.raises(BundleError, match="int8 wants plain convolutions of the net"):
        quantise(open_bundle(str(copy.folder)), pictures(split))


def test_a_scale_clips_what_is_rare_and_far() -> None:
    values = torch.linspace(-1, 1, 100_001)
    near, far = Histogram(), Histogram()
    near.add(values)
    far.add(values)
    far.add(torch.tensor([4.0]))
    assert near.scale() * 127 == pytest.approx(1.0, rel=0.02)
    assert far.scale() * 127 < 3.0


def test_the_order_of_values_does_not_matter_to_a_scale() -> None:
    small, large = torch.rand(5000) * 0.01, torch.rand(5000) * 0.64
    one, other = Histogram(), Histogram()
    for histogram, order in ((one, (small, large)), (other, (large, small))):
        for values in order:
            histogram.add(values)
    assert one.scale() == pytest.approx(other.scale(), rel=0.02)


def test_a_layer_that_is_always_silent_has_a_scale() -> None:
    silent = Histogram()
    silent.add(torch.zeros(10))
    assert silent.scale() > 0
