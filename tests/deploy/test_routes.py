"""Routes to int8 are compared on one footing: the same crops, engine and pictures."""

import json
from pathlib import Path

import onnx
import pytest
from rich.console import Console

from deploy.bundle import Bundle, open_bundle
from deploy.compare import Comparison, compare
from deploy.compare_page import markdown, save, table
from deploy.lint import lint
from deploy.parity import Picture, pictures_of
from deploy.quantise import crops_of
from deploy.routes import Crops, chosen, last_convolution, routes
from models.errors import ConfigError, DataError

pytest.importorskip("openvino")
pytestmark = pytest.mark.filterwarnings("default")  # the tools warn about their own insides

KEEP_THE_RULES = {"throng", "onnx-runtime-minmax", "onnx-runtime-percentile", "torchao-pt2e"}


@pytest.fixture(scope="module")
def crops(split: Path) -> Crops:
    return crops_of(picture.read() for picture in pictures_of(split))


@pytest.fixture(scope="module")
def compared(tiny: Bundle, split: Path, crops: Crops) -> Comparison:
    some = {**chosen(["throng", "onnx-runtime-minmax"]), "absent": absent}
    return compare(tiny, some, crops=crops, pictures=pictures_of(split), round_s=0.0)


def absent(bundle: Bundle, crops: Crops) -> onnx.ModelProto:
    """A route whose package nobody has."""
    raise ModuleNotFoundError("No module named 'abacus'", name="abacus")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(routes()))
def test_every_route_makes_int8_of_all_convolutions_but_the_last(
    name: str, tiny: Bundle, crops: Crops
) -> None:
    before = tiny.model("fp32").read_bytes()
    model = routes()[name](tiny, crops)
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    *convs, last = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convs
    assert {makers[conv.input[1]] for conv in convs} == {"DequantizeLinear"}
    assert last.input[1] not in makers
    assert last.name == last_convolution(model)
    assert tiny.model("fp32").read_bytes() == before
    if name in KEEP_THE_RULES:
        assert not lint(model)


def test_a_row_says_how_far_its_counts_are_from_those_of_the_fp32_graph(
    compared: Comparison, tiny: Bundle
) -> None:
    rows = {row.name: row for row in compared.rows}
    assert set(rows) >= {"fp32", "throng", "onnx-runtime-minmax", "absent"}
    exact, ours = rows["fp32"].parts["sha"], rows["throng"].parts["sha"]
    assert (exact.pictures, exact.gap, exact.shift, exact.mae_lost) == (4, 0, 0, 0)
    assert 0 < ours.gap < 0.1
    assert 0 < abs(ours.shift) < 0.1
    assert ours.mae - exact.mae == pytest.approx(ours.mae_lost * max(exact.mae, 1.0))
    assert all(row.cpu_ratio for row in compared.rows if row.error is None)
    assert compared.crops == 4
    assert "int8" not in open_bundle(str(tiny.folder)).manifest.precisions


def test_a_route_without_its_package_is_a_row_that_says_how_to_get_it(
    compared: Comparison,
) -> None:
    row = compared.rows[-1]
    assert row.error == "abacus is not installed (pip install 'throng[routes]')"
    assert f"- absent: {row.error}" in markdown(compared)


def test_a_page_and_a_table_hold_every_row(compared: Comparison, tmp_path: Path) -> None:
    data, page = save(compared, tmp_path)
    assert [row["name"] for row in json.loads(data.read_text())["rows"]] == [
        row.name for row in compared.rows
    ]
    console = Console(width=200, record=True)
    console.print(table(compared))
    shown = console.export_text()
    for row in compared.rows:
        assert f"| {row.name} |" in page.read_text()
        assert row.name in shown


def test_pictures_without_true_counts_are_refused(tiny: Bundle, crops: Crops, split: Path) -> None:
    some: list[Picture] = pictures_of(split / "images")
    with pytest.raises(DataError, match=r"wanted pictures with an index\.csv"):
        compare(tiny, chosen(["throng"]), crops=crops, pictures=some)


def test_an_unknown_route_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no route 'abacus'; there are nncf-minmax, .*, torchao"):
        chosen(["abacus"])
