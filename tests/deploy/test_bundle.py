"""A bundle opens whole or not at all, and says why in one line."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest

from deploy.bench_nets import gmac
from deploy.bundle import MANIFEST, MODEL, WEIGHTS, Bundle, digest_of, open_bundle, shipped
from deploy.engines.tensorrt.graph import prepared
from models.errors import BundleError, EngineError

Harm = Callable[[Path], None]


@pytest.fixture
def copy(tiny: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.folder, tmp_path / "tiny"))


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / MODEL).write_bytes(content)


def remove_a_file(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def link_outside(folder: Path) -> None:
    shutil.move(folder / MODEL, folder.parent / "elsewhere.onnx")
    (folder / MODEL).symlink_to(folder.parent / "elsewhere.onnx")


def name_a_file_outside(folder: Path) -> None:
    shutil.copy(folder / MODEL, folder.parent / "x")
    edit(folder, lambda m: m["files"].update({"../x": m["files"][MODEL]}))


def add_a_key(folder: Path) -> None:
    edit(folder, lambda m: m.update(colour_of_the_sky="blue"))


def want_other_frames(key: str, value: str, folder: Path) -> None:
    edit(folder, lambda m: m["input"].update({key: value}))


def come_from_the_future(folder: Path) -> None:
    edit(folder, lambda m: m.update(schema_version=2))


def forget_a_hash(folder: Path) -> None:
    edit(folder, lambda m: m["files"].pop(MODEL))


def keep_weights_in_another_file(folder: Path) -> None:
    model = onnx.load(folder / MODEL)
    onnx.save_model(
        model, folder / MODEL, save_as_external_data=True, location="weights.bin", size_threshold=64
    )
    edit(folder, lambda m: m["files"].update({MODEL: digest_of(folder / MODEL)}))


def keep_weights_in_another_file_under_another_suffix(folder: Path) -> None:
    keep_weights_in_another_file(folder)
    call_the_model("model.ONNX", folder)


def call_weights_a_model(folder: Path) -> None:
    edit(folder, lambda m: m["precisions"].update(fp32=WEIGHTS))


def call_the_model(name: str, folder: Path) -> None:
    (folder / MODEL).rename(folder / name)
    edit(folder, lambda m: m["files"].update({name: m["files"].pop(MODEL)}))
    edit(folder, lambda m: m["precisions"].update(fp32=name))


def leave_out_the_steps(folder: Path) -> None:
    edit(folder, lambda m: m["input"].update(stride=0))


def know_no_large_count(folder: Path) -> None:
    edit(folder, lambda m: m["interval"]["bins"][-1].update(up_to=9.0))


def call_fp32_int8(folder: Path) -> None:
    edit(folder, lambda m: m["precisions"].update(int8=MODEL))


def name_a_file_that_no_system_has(folder: Path) -> None:
    edit(folder, lambda m: m["files"].update({"x\0y": "00"}))


def stop_halfway(folder: Path) -> None:
    text = (folder / MANIFEST).read_text("utf-8")
    (folder / MANIFEST).write_text(text[: len(text) // 2], encoding="utf-8")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def test_an_intact_bundle_opens_wherever_its_folder_lies(copy: Path) -> None:
    bundle = open_bundle(str(copy))
    assert bundle.name == "tiny"
    assert bundle.model("fp32") == copy / MODEL
    assert open_bundle("tiny", zoo=copy.parent) == bundle
    shutil.copytree(copy, copy.parent / ".tiny-x7")  # an export that was killed, or goes on
    assert shipped(copy.parent) == ["tiny"]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (flip_a_byte, "altered"),
        (remove_a_file, "missing"),
        (link_outside, "outside"),
        (name_a_file_outside, "'../x', which is outside"),
        (add_a_key, "colour_of_the_sky"),
        (come_from_the_future, "(made by a newer throng?)"),
        (partial(want_other_frames, "layout", "NCHW"), "input.layout: Input should be 'NHWC'"),
        (partial(want_other_frames, "colour", "BGR"), "input.colour: Input should be 'RGB'"),
        (partial(want_other_frames, "dtype", "float32"), "input.dtype: Input should be 'uint8'"),
        (keep_weights_in_another_file, "weights in other files"),
        (keep_weights_in_another_file_under_another_suffix, "'model.ONNX' as a model: wanted"),
        (call_weights_a_model, f"'{WEIGHTS}' as a model: wanted a file *.onnx"),
        (forget_a_hash, "no hash for model.fp32.onnx"),
        (stop_halfway, "manifest.json: Invalid JSON"),
        (leave_out_the_steps, "input.stride: Input should be greater than 0"),
        (know_no_large_count, "interval.bins: Value error, the last bin must be for any count"),
        (call_fp32_int8, "precisions: Value error, wanted fp32, and a file for each"),
        (name_a_file_that_no_system_has, "which is outside"),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused_in_one_line(
    copy: Path, harm: Harm, says: str
) -> None:
    harm(copy)
    with pytest.raises(BundleError) as refused:
        open_bundle(str(copy))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("file", [MANIFEST, MODEL, WEIGHTS])
def test_a_bundle_of_somebody_else_s_is_refused_in_one_line(
    tiny: Bundle, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tiny.folder / file, Path.open

    def refuse(one: Path, *how: Any, **more: Any) -> Any:
        if one == path:
            raise PermissionError(13, "Permission denied", str(one))
        return opened(one, *how, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BundleError, match=f"{path} cannot be read: Permission denied"):
        open_bundle(str(tiny.folder))


def test_a_model_is_loaded_without_weights_that_lie_beside_it(copy: Path) -> None:
    work = gmac(copy / MODEL, height=64, width=96)
    keep_weights_in_another_file(copy)
    with pytest.raises(EngineError, match="should be stored in weights"):
        prepared(copy / MODEL, half=False)
    (copy / "weights.bin").unlink()
    assert gmac(copy / MODEL, height=64, width=96) == work


def test_an_unknown_bundle_is_refused_with_the_names_that_are_there(copy: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle 'huge': shipped are tiny; or give a folder"):
        open_bundle("huge", zoo=copy.parent)


def test_a_precision_that_did_not_ship_is_refused(tiny: Bundle) -> None:
    with pytest.raises(BundleError, match="has no int8 model; it has fp32"):
        tiny.model("int8")
