"""From a checkpoint to a bundle; a failed export changes nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch

from deploy.bundle import MANIFEST, MODEL, WEIGHTS, Bundle, open_bundle, shipped
from deploy.card import CARD, card
from deploy.export import Validation, export, to_onnx
from models.checkpoint import load_checkpoint
from models.errors import DataError
from models.nets import NETS

MakeCheckpoint = Callable[..., Path]


def sizes(value: onnx.ValueInfoProto) -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_frames_are_uint8_in_nhwc_and_only_their_colours_are_fixed(tiny: Bundle) -> None:
    graph = onnx.load(tiny.model("fp32")).graph
    (frames,), (density,) = graph.input, graph.output
    assert (frames.name, density.name) == ("frames", "density")
    assert frames.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert density.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    *dynamic, colours = sizes(frames)
    assert colours == 3
    assert all(isinstance(size, str) for size in [*dynamic, *sizes(density)])


def test_the_model_is_one_file_that_says_nothing_of_where_it_was_made(tiny: Bundle) -> None:
    model = onnx.load(tiny.model("fp32"), load_external_data=False)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")  # weights may spell anything
    words = model.SerializeToString()
    here = (str(Path.home()), str(Path.cwd()), str(Path(torch.__file__).parents[1]), ".py")
    assert not [path for path in here if path.encode() in words]


def test_a_bundle_holds_the_checkpoint_and_a_card(
    tiny: Bundle, make_checkpoint: MakeCheckpoint
) -> None:
    assert sorted(content(tiny.folder)) == ["README.md", MANIFEST, MODEL, WEIGHTS]
    assert load_checkpoint(tiny.weights).facts == load_checkpoint(make_checkpoint()).facts
    said = (tiny.folder / CARD).read_text("utf-8")
    for words in (
        "ShanghaiTech part A | 30",
        "(DTD textures) | 10",
        "research data; clear it",
        "throng-deploy export",
    ):
        assert words in said


def test_a_card_names_no_recipe_but_what_the_run_started_from(tiny: Bundle) -> None:
    needs = {
        **tiny.manifest.training.recipe,
        "starts_from": "first",
        "teachers": {"wise": {"run": "old"}},
    }
    training = tiny.manifest.training.model_copy(update={"recipe": needs})
    started = card(tiny.manifest.model_copy(update={"training": training}))
    assert "make `first`, `old` first" in started
    assert "It started from the last weights of the run `first`." in started
    needs |= {"averaged_with": ["second"]}
    both = card(tiny.manifest.model_copy(update={"training": training}))
    assert "from the mean of the last weights of the runs `first` and `second`." in both
    assert "make `first`, `second`, `old` first" in both
    for text in (started, card(tiny.manifest)):
        assert "throng-distill run RECIPE --out RUN" in text
    assert "make distill" not in card(tiny.manifest)


@pytest.mark.parametrize("name", shipped())
def test_a_card_that_ships_is_the_one_of_its_manifest(name: str) -> None:
    bundle = open_bundle(name)
    assert (bundle.folder / CARD).read_text("utf-8") == card(bundle.manifest)


def test_the_counts_give_the_errors_of_each_data_set_and_the_interval(tiny: Bundle) -> None:
    parts = tiny.manifest.validation
    assert (parts["sha"].mae, parts["sha"].bias, parts["sha"].pictures) == (10.0, 10.0, 30)
    assert parts["dtd"].nae is None
    low, high = tiny.manifest.interval.around(30)
    assert low <= 20 <= high


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "wanted id,predicted,true"),
        ("id,true\n", "wanted id,predicted,true"),
        ("id,predicted,true\nsha_1,2\n", "line 2"),
        ("id,predicted,true\nsha_1,two,2\n", "line 2"),
        ("id,predicted,true\nsha_1,nan,2\n", "line 2"),
        ("id,predicted,true\nsha_1,2,2\nsha_1,2,2\n", "twice"),
        ("id,predicted,true\nsha_1,2,2\n", "1 validation pictures: wanted 20"),
    ],
)
def test_counts_that_prove_nothing_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "counts.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        Validation.read([tmp_path / "counts.csv"])


def test_a_name_that_is_a_path_is_refused_before_anything_is_written(
    tiny: Bundle, make_checkpoint: MakeCheckpoint, counts: Path
) -> None:
    before = content(tiny.folder.parent)
    with pytest.raises(DataError, match="wanted a plain word"):
        export(make_checkpoint(), counts=[counts], out=tiny.folder, name="/somewhere/tiny")
    assert content(tiny.folder.parent) == before


def test_a_checkpoint_of_unknown_origin_leaves_the_old_bundle(
    tiny: Bundle, make_checkpoint: MakeCheckpoint, counts: Path
) -> None:
    before = content(tiny.folder.parent)
    with pytest.raises(DataError, match="does not say what it was trained on"):
        export(make_checkpoint(facts={}), counts=[counts], out=tiny.folder, name="tiny")
    assert content(tiny.folder.parent) == before


def test_a_full_disk_leaves_the_old_bundle_and_nothing_beside_it(
    tiny: Bundle, make_checkpoint: MakeCheckpoint, counts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = content(tiny.folder.parent)
    monkeypatch.setattr(onnx, "save_model", full)
    with pytest.raises(DataError, match="tiny cannot be written: No space left"):
        export(make_checkpoint(1), counts=[counts], out=tiny.folder, name="tiny")
    assert content(tiny.folder.parent) == before
    assert list(tiny.folder.parent.iterdir()) == [tiny.folder]


@pytest.mark.parametrize("renamed", ["before", "after"])
def test_an_interrupt_while_bundles_are_swapped_leaves_one_of_them_whole(
    tiny: Bundle,
    make_checkpoint: MakeCheckpoint,
    counts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    renamed: str,
) -> None:
    out, rename = Path(shutil.copytree(tiny.folder, tmp_path / "tiny")), Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if target != out or path.name == out.name:  # of the old bundle
            return rename(path, target)
        if renamed == "after":
            rename(path, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(make_checkpoint(1), counts=[counts], out=out, name="tiny")
    same = open_bundle(str(out)).manifest == tiny.manifest
    assert same == (renamed == "before")
    assert list(tmp_path.iterdir()) == [out]


def test_a_new_export_replaces_the_old_bundle(
    tmp_path: Path, make_checkpoint: MakeCheckpoint, counts: Path
) -> None:
    first = export(make_checkpoint(0), counts=[counts], out=tmp_path / "b", name="b")
    second = export(make_checkpoint(1), counts=[counts], out=tmp_path / "b", name="b")
    assert first.manifest.files != second.manifest.files
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


def test_a_folder_that_holds_anything_else_is_never_replaced(
    tmp_path: Path, make_checkpoint: MakeCheckpoint, counts: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("three years", encoding="utf-8")
    with pytest.raises(DataError, match=r"thesis.txt', which is of no bundle"):
        export(make_checkpoint(), counts=[counts], out=tmp_path, name="b")
    assert (tmp_path / "thesis.txt").exists()


def test_a_bundle_that_somebody_keeps_notes_in_is_never_replaced(
    tmp_path: Path, make_checkpoint: MakeCheckpoint, counts: Path
) -> None:
    export(make_checkpoint(0), counts=[counts], out=tmp_path / "b", name="b")
    (tmp_path / "b/notes").mkdir()
    with pytest.raises(DataError, match="notes', which is of no bundle"):
        export(make_checkpoint(1), counts=[counts], out=tmp_path / "b", name="b")
    assert (tmp_path / "b/notes").is_dir()


NARROW: dict[str, dict[str, int]] = {
    **{net: {"ratio": 16} for net in ("bl", "csrnet", "reviewed", "sanet")},
    **{net: {"width": 16} for net in ("densenet169", "resnet50")},
}


@pytest.mark.slow  # a real net takes several seconds
@pytest.mark.parametrize("name", NETS.names())
def test_every_net_can_be_exported(name: str) -> None:
    model = to_onnx(NETS[name](**NARROW.get(name, {})).eval())
    assert sizes(model.graph.input[0])[3] == 3
