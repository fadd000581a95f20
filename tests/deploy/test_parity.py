"""Engines that count like the net pass; graphs of other weights and broken numbers do not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.bundle import WEIGHTS, Bundle, ParityRow, digest_of, open_bundle
from deploy.card import describe
from deploy.engines import Precision
from deploy.parity import Picture, hold, parity, pictures_of, record, runnable
from models.errors import DataError, EngineError, ParityError

MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def copy(tiny: Bundle, tmp_path: Path) -> Bundle:
    return open_bundle(str(shutil.copytree(tiny.folder, tmp_path / "tiny")))


@pytest.fixture(scope="module")
def rows(tiny: Bundle, split: Path) -> list[ParityRow]:
    """Of four pictures, which are passed off as forty."""
    measured = parity(tiny, pictures_of(split), engines=runnable_or_skip(tiny))
    assert {row.pictures for row in measured} == {4}
    return [row.model_copy(update={"pictures": 40}) for row in measured]


def runnable_or_skip(bundle: Bundle) -> list[tuple[str, Precision]]:
    try:
        return runnable(bundle)
    except EngineError as error:
        pytest.skip(str(error))


def test_every_engine_counts_like_the_net_in_fp32(rows: list[ParityRow]) -> None:
    exact = [row for row in rows if row.precision == "fp32"]
    assert exact
    hold(exact)
    assert all(row.mae_lost is not None for row in rows)
    assert all(row.mae_lost_by_part == {"sha": row.mae_lost} for row in rows)


def test_without_true_counts_no_mae_is_claimed(tiny: Bundle, split: Path) -> None:
    some = pictures_of(split / "images")
    assert [picture.true for picture in some] == [None] * 4
    (row, *_) = parity(tiny, some, engines=runnable_or_skip(tiny)[:1])
    assert row.mae_lost is None


def test_a_graph_of_other_weights_is_refused(
    copy: Bundle, split: Path, make_checkpoint: MakeCheckpoint
) -> None:
    shutil.copy(make_checkpoint(1), copy.weights)
    hashes = {**copy.manifest.files, WEIGHTS: digest_of(copy.weights)}
    describe(copy.folder, copy.manifest.model_copy(update={"files": hashes}))
    altered = open_bundle(str(copy.folder))
    rows = parity(altered, pictures_of(split), engines=runnable_or_skip(altered)[:1])
    with pytest.raises(ParityError, match=r" fp32: worst count gap .* the budget is 0.1%"):
        hold(rows)


@pytest.mark.parametrize(
    ("precision", "gap", "lost", "holds"),
    [
        ("fp32", 0.0009, 0.0049, True),
        ("fp32", 0.0011, 0.0, False),
        ("fp32", float("nan"), 0.0, False),
        ("fp32", 0.0, 0.0051, False),
        ("fp32", 0.0, float("nan"), False),
        ("fp32", 0.0, -0.5, True),
        ("fp32", 0.0, None, True),
        ("bf16", 0.02, 0.0049, True),
        ("bf16", 0.0, 0.0051, False),
        ("int8", 0.1, 0.0149, True),
        ("int8", 0.0, 0.0151, False),
    ],
)
def test_budgets(precision: str, gap: float, lost: float | None, holds: bool) -> None:
    row = ParityRow(
        engine="abacus", precision=precision, pictures=1,
        worst_count_gap=gap, worst_cell_gap=0.0, mae_lost=lost,
    )  # fmt: skip
    if holds:
        hold([row])
    else:
        with pytest.raises(ParityError, match=f"abacus {precision}"):
            hold([row])


def test_one_data_set_is_not_paid_for_with_another() -> None:
    parts = {"sha": -0.02, "shb": 0.02}
    row = ParityRow(
        engine="abacus", precision="int8", pictures=2, worst_count_gap=0.1, worst_cell_gap=0.0,
        mae_lost=0.0, mae_lost_by_part=parts,
    )  # fmt: skip
    with pytest.raises(ParityError, match=r"MAE lost on shb 2.000% .* the budget is 1.5%"):
        hold([row])


def test_what_was_found_goes_into_manifest_and_card_and_changes_nothing_else(
    copy: Bundle, rows: list[ParityRow]
) -> None:
    record(copy, rows)
    record(open_bundle(str(copy.folder)), rows)  # again: rows of an engine replace its older ones
    after = open_bundle(str(copy.folder))
    assert sorted(after.manifest.parity, key=str) == sorted(rows, key=str)
    assert after.manifest.model_copy(update={"parity": ()}) == copy.manifest
    assert f"{rows[0].engine} {rows[0].precision} | 40" in (copy.folder / "README.md").read_text()
    assert sorted(path.name for path in copy.folder.iterdir()) == sorted(
        path.name
        for path in (*map(Path, after.manifest.files), Path("README.md"), Path("manifest.json"))
    )


def test_nothing_is_written_where_a_row_was_not_judged(copy: Bundle, rows: list[ParityRow]) -> None:
    blank = rows[0].model_copy(
        update={"precision": "int8", "mae_lost": None, "mae_lost_by_part": {}}
    )
    before = {path: path.read_bytes() for path in copy.folder.iterdir()}
    with pytest.raises(DataError, match=r"int8 was not judged, .*wanted an index.csv") as refused:
        record(copy, [*rows, blank])
    assert "\n" not in str(refused.value)
    assert {path: path.read_bytes() for path in copy.folder.iterdir()} == before
    fp32 = next(row for row in rows if row.precision == "fp32")
    record(copy, [fp32.model_copy(update={"mae_lost": None, "mae_lost_by_part": {}})])


def test_a_row_never_takes_the_place_of_one_that_was_measured_on_more_pictures(
    copy: Bundle, rows: list[ParityRow]
) -> None:
    record(copy, rows)
    before = {path: path.read_bytes() for path in copy.folder.iterdir()}
    fewer = [row.model_copy(update={"pictures": 39}) for row in rows]
    with pytest.raises(DataError, match=r"on 39 pictures, so nothing is written: wanted 40"):
        record(open_bundle(str(copy.folder)), fewer)
    assert {path: path.read_bytes() for path in copy.folder.iterdir()} == before


def test_a_limit_spreads_evenly_over_the_pictures(split: Path) -> None:
    assert [picture.id for picture in pictures_of(split, limit=2)] == ["sha_0", "sha_2"]
    assert [picture.true for picture in pictures_of(split, limit=9)] == [0, 1, 2, 3]


def test_pictures_are_read_as_rgb(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 6, 3), (0, 0, 255), np.uint8))
    (red,) = pictures_of(tmp_path)
    assert red.read()[0, 0].tolist() == [255, 0, 0]


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        pictures_of(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        pictures_of(tmp_path / "nowhere")
    (tmp_path / "index.csv").write_text("name,heads\na,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="wanted columns id and count"):
        pictures_of(tmp_path)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture", encoding="utf-8")
    (picture,) = pictures_of(tmp_path)
    with pytest.raises(DataError, match=r"a\.jpg is not a picture"):
        picture.read()


def test_nothing_to_compare_on_is_refused(tiny: Bundle) -> None:
    nothing: list[Picture] = []
    with pytest.raises(DataError, match="no pictures"):
        parity(tiny, nothing, engines=[])
