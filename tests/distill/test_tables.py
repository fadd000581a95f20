"""Tables of made-up runs: nets that count every picture the same, so that errors are plain sums."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import stdev
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from distill.data import Sample
from distill.lineage import sha256
from distill.recipes import Part, Recipe, recipe
from distill.tables import TABLES, Row, Table
from distill.tables._measured import Made, Seen, measure, see
from distill.tables._page import draw_worst, markdown, save
from distill.tables._runs import counts_of_run, read_run
from models.checkpoint import save_checkpoint
from models.errors import ConfigError, DataError
from models.nets import NETS
from models.nets.throng_s import ThrongS

SMALL: Mapping[str, Any] = {"width": 8}
CELLS = 8 * 10  # of a picture of 64 x 80
HEADS = (10, 20, 30, 40, 90)
TABLE = Table(
    "Two rows",
    rows=(Row("taught", ("a", "a-1")), Row("alone", ("b",)), Row("wished for", ("c", "c-1"))),
    says="Is the first better?",
    parts={"part A": Part("pack", "val", prefix="sha_")},
    compared=(("taught", "alone"), ("taught", "wished for")),
    scattered=("taught", "wished for"),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five pictures with 10 to 90 heads."""
    folder = tmp_path / "data/val"
    (folder / "images").mkdir(parents=True)
    names = [f"sha_{number}" for number in range(len(HEADS))]
    for name in names:
        cv2.imwrite(str(folder / f"images/{name}.jpg"), np.zeros((64, 80, 3), np.uint8))
    points = {n: np.ones((h, 2), np.float32) for n, h in zip(names, HEADS, strict=True)}
    np.savez(folder / "points.npz", **points)  # type: ignore[arg-type]  # names are its arguments
    rows = "".join(f"{n},80,64,{h}\n" for n, h in zip(names, HEADS, strict=True))
    (folder / "index.csv").write_text(f"id,width,height,count\n{rows}")
    return folder.parent


def _checkpoint(path: Path, people: float) -> None:
    """A net that counts `people` in every picture."""
    net = NETS["throng-s"](**SMALL)
    assert isinstance(net, ThrongS)
    torch.nn.init.zeros_(net.head.out.weight)
    net.head.out.bias.data.fill_(people / CELLS)  # type: ignore[union-attr]  # on by default
    save_checkpoint(path, net, name="throng-s", arguments=SMALL, facts={})


def _run(folder: Path, *, best: float, last: float | None = None, **changed: Any) -> None:
    """A folder as a run of 300 steps of 4 crops leaves it; another began it where it says so."""
    start = f"{changed.get('starts_from', '')}/last.safetensors"
    came_from = {start: sha256(folder.parent / start)} if "starts_from" in changed else {}
    folder.mkdir(parents=True)
    _checkpoint(folder / "best.safetensors", best)
    if last is not None:
        _checkpoint(folder / "last.safetensors", last)
    of = replace(recipe("throng-s-alone"), net_arguments=SMALL, steps=300, batch=4)
    (folder / "recipe.json").write_text(json.dumps(asdict(of) | changed))
    entries: list[dict[str, Any]] = [
        {"begins_at": 0, "came_from": came_from, "commit": f"c{best:.0f}", "machine": {"cores": 2}},
        {"step": 100, "seconds": 50.0},
        {"step": 200, "seconds": 90.0},
        {"step": 200, "validation": {"sha": {"mae": 30.0}}, "rank": 1},
        {"begins_at": 200, "came_from": came_from, "commit": f"c{best:.0f}", "machine": {}},
        {"step": 300, "seconds": 95.0},  # it was stopped, and went on
        {"step": 300, "seconds": 99.0, "validation": {"sha": {"mae": 25.0}}, "rank": 1},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two seeds of one row, one of another, none of the third."""
    _run(tmp_path / "runs/a", best=20, last=40)
    _run(tmp_path / "runs/a-1", best=30, last=40, seed=1)
    _run(tmp_path / "runs/b", best=50)
    return tmp_path / "runs"


def _made(runs: Path, data: Path, table: Table = TABLE) -> tuple[Made, list[Seen]]:
    seen = see(table, runs=runs, data=data)
    return measure(table, seen), seen


def test_errors_are_those_of_every_picture_over_the_seeds(runs: Path, data: Path) -> None:
    """Counts of 20 and 30 against 10, 20, 30, 40, 90: errors 10 0 10 20 70 and 20 10 0 10 60."""
    made, _ = _made(runs, data)
    errors = made.lines[0].errors["best"]["part A"]
    assert errors["mae"].each == pytest.approx((22, 20))
    assert errors["mae"].mean == pytest.approx(21)
    assert errors["mae"].deviation == pytest.approx(stdev([22, 20]))
    assert errors["mae_trimmed"].each == pytest.approx((5, 5))
    assert errors["rmse"].each == pytest.approx((1100**0.5, 840**0.5))
    assert errors["bias"].each == pytest.approx((-18, -8))
    last = made.lines[0].errors["last"]["part A"]["mae"]
    assert last.each == pytest.approx((22, 22))


def test_one_seed_has_no_deviation_and_a_run_without_a_last_has_no_last(
    runs: Path, data: Path
) -> None:
    made, _ = _made(runs, data)
    alone = made.lines[1]
    assert alone.errors["best"]["part A"]["mae"].mean == pytest.approx(28)
    assert alone.errors["best"]["part A"]["mae"].deviation is None
    assert "last" not in alone.errors
    assert " | - | - | - | - |" in markdown(made)


def test_rows_are_compared_on_the_same_pictures_where_both_have_run(runs: Path, data: Path) -> None:
    """Errors averaged over seeds 15 5 5 15 65, less 40 30 20 10 40."""
    made, _ = _made(runs, data)
    (one,) = made.compared
    assert (one.row, one.than, one.checkpoint) == ("taught", "alone", "best")
    assert one.difference.mean == pytest.approx(-7)
    assert -25 <= one.difference.low < -7 < one.difference.high <= 25


def test_runs_of_one_seed_are_compared_with_each_other(runs: Path, data: Path) -> None:
    """22 less 28 for the first seed; 20 less 21 for the second, once it is in both rows."""
    (one,) = _made(runs, data)[0].compared
    assert one.by_seed == pytest.approx({0: -6})
    _run(runs / "b-1", best=25, seed=1)
    table = replace(TABLE, rows=(TABLE.rows[0], Row("alone", ("b", "b-1")), TABLE.rows[2]))
    made, _ = _made(runs, data, table)
    assert made.compared[0].by_seed == pytest.approx({0: -6, 1: -1})
    assert " | -6.0, -1.0 |" in markdown(made)


def test_cost_is_that_of_a_run_and_of_all_it_started_from(runs: Path, data: Path) -> None:
    _run(runs / "c", best=10, last=10, starts_from="a")
    ran = read_run("c", runs)
    assert ran
    assert ran.crops == 2 * 300 * 4
    assert ran.seconds == pytest.approx(2 * (90 + 99))
    assert ran.curve == ((2000, {"sha": 30.0}), (2400, {"sha": 25.0}))
    made = _made(runs, data)[0]
    line = made.lines[0]
    assert (line.crops, line.seconds, line.seeds) == (1200, 189, (0, 1))
    assert line.commits == ["c20", "c30"]
    assert " | 0, 1 | c20, c30 |" in markdown(made)
    assert line.parameters == sum(p.numel() for p in NETS["throng-s"](**SMALL).parameters())


def test_what_two_averaged_runs_began_with_is_paid_for_once(runs: Path) -> None:
    _run(runs / "c", best=10, last=10, starts_from="a")
    _run(runs / "d", best=10, last=10, starts_from="a")
    _run(runs / "e", best=10, last=10, starts_from="c", averaged_with=("d",))
    ran = read_run("e", runs)
    assert ran
    assert ran.crops == 4 * 300 * 4


def test_what_has_not_run_is_listed_with_its_command(runs: Path, data: Path) -> None:
    _run(runs / "c-1", best=10)
    made, _ = _made(runs, data)
    assert made.lines[2].missing == ("c",)
    page = markdown(made)
    assert "- Not run, of wished for: `throng-distill run c`." in page
    assert "run c-1`" not in page


def test_a_table_of_which_nothing_has_run_says_so(tmp_path: Path, data: Path) -> None:
    made, seen = _made(tmp_path / "nowhere", data)
    page = markdown(made)
    assert "|" not in page
    assert page.count("`throng-distill run ") == 5
    saved = save(made, TABLE, seen, name="two", out=tmp_path / "out")
    assert [path.suffix for path in saved] == [".json", ".md"]


def test_a_page_says_how_its_numbers_were_chosen_and_where_they_are_from(
    runs: Path, data: Path
) -> None:
    made, _ = _made(runs, data)
    page = markdown(made)
    assert "`best` is the checkpoint that a run chose" in page
    assert "`last` is the one after the last step" in page
    assert made.commit in page
    assert made.machine["processor"] in page
    assert "part A: 5 pictures" in page
    assert "| part A | n | best MAE | best trimmed |" in page
    assert "| taught | 2 | 21.0 ± 1.4 | 5.0 ± 0.0 | 31.1 ± 3.0 | -13.0 ± 7.1 | 22.0 ± 0.0 |" in page
    assert "| taught | alone | best | part A | -7.0 |" in page
    assert "| taught | 1.23 M |" in page


def test_a_reader_is_told_of_runs_that_are_not_what_they_seem(runs: Path, data: Path) -> None:
    _run(runs / "throng-s-alone", best=10, steps=9000)
    table = replace(TABLE, rows=(Row("alone", ("throng-s-alone", "b")),), compared=(), scattered=())
    notes = _made(runs, data, table)[0].lines[0].notes
    assert notes == (
        "`throng-s-alone` is not finished: 300 of 9000 steps",
        "`throng-s-alone` ran with another recipe than this commit's",
        "`b` is no recipe of this commit",
    )


def test_a_reader_is_told_where_a_run_s_start_was_trained_anew_or_is_gone(
    runs: Path, data: Path
) -> None:
    _run(runs / "c", best=10, starts_from="a")
    _checkpoint(runs / "a/last.safetensors", 77)
    table = replace(TABLE, rows=(Row("later", ("c",)),), compared=(), scattered=())
    assert "`c` began with another `a/last.safetensors` than is there" in _notes(runs, data, table)
    shutil.rmtree(runs / "a")
    (lost,) = (note for note in _notes(runs, data, table) if "gone" in note)
    assert "crops and hours may lack" in lost


def _notes(runs: Path, data: Path, table: Table) -> tuple[str, ...]:
    return _made(runs, data, table)[0].lines[0].notes


def test_a_run_of_a_commit_with_fewer_settings_is_not_another(runs: Path, data: Path) -> None:
    now = json.loads(json.dumps(asdict(recipe("throng-s-alone"))))
    _run(runs / "throng-s-alone", best=10)
    del now["bank"], now["train"][0]["listed"]
    (runs / "throng-s-alone/recipe.json").write_text(json.dumps(now))
    table = replace(TABLE, rows=(Row("alone", ("throng-s-alone",)),), compared=(), scattered=())
    notes = _made(runs, data, table)[0].lines[0].notes
    assert notes == (f"`throng-s-alone` is not finished: 300 of {now['steps']} steps",)


def test_what_was_counted_is_not_counted_again(
    runs: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = _made(runs, data)
    with monkeypatch.context() as patched:
        patched.setattr("distill.tables._runs.counts_of", lambda *_, **__: pytest.fail("again"))
        after, _ = _made(runs, data)
    assert after.lines == before.lines
    assert [path.name for path in runs.rglob("*.partial")] == []


def test_another_checkpoint_or_another_truth_is_counted_anew(runs: Path, data: Path) -> None:
    _made(runs, data)
    _checkpoint(runs / "b/best.safetensors", 0)
    assert _made(runs, data)[0].lines[1].errors["best"]["part A"]["mae"].mean == pytest.approx(38)
    np.savez(data / "val/points.npz", sha_0=np.ones((10, 2), np.float32))
    (data / "val/index.csv").write_text("id,width,height,count\nsha_0,80,64,10\nsha_1,80,64,0\n")
    assert _made(runs, data)[0].lines[1].errors["best"]["part A"]["mae"].mean == pytest.approx(5)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("counts.csv", "checkpoint,id\nabc,sha_0\n"),
        ("log.jsonl", '{"st\n{"step": 1}\n'),
        ("recipe.json", ""),
    ],
)
def test_a_broken_file_of_a_run_is_named(runs: Path, data: Path, file: str, content: str) -> None:
    (runs / "b" / file).write_text(content)
    with pytest.raises(DataError, match=f"b/{file}"):
        _made(runs, data)


def test_a_run_without_its_recipe_is_named(runs: Path) -> None:
    (runs / "b/recipe.json").unlink()
    with pytest.raises(DataError, match=r"b/recipe.json cannot be read as a run's recipe"):
        read_run("b", runs)


def test_plots_lie_beside_the_numbers(runs: Path, data: Path, tmp_path: Path) -> None:
    made, seen = _made(runs, data)
    saved = save(made, TABLE, seen, name="two", out=tmp_path / "out")
    assert sorted(path.name[18:] for path in (tmp_path / "out").iterdir()) == [
        "two-curves.png", "two-scatter.png", "two.json", "two.md",
    ]  # fmt: skip
    assert f"![curves]({saved[2].name})" in saved[1].read_text()
    said = json.loads(saved[0].read_text(), parse_constant=pytest.fail)
    assert said["lines"][0]["errors"]["best"]["part A"]["mae"]["mean"] == pytest.approx(21)


def test_the_worst_pictures_come_first_and_are_drawn_into_the_run_s_folder(
    runs: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[Path, list[str]] = {}

    def draw(some: Sequence[Sample], _: object, path: Path) -> None:
        asked[path] = [sample.id for sample in some]

    monkeypatch.setattr("distill.tables._page.draw_predictions", draw)
    drawn = draw_worst(TABLE, see(TABLE, runs=runs, data=data), runs=runs, data=data)
    assert drawn == list(asked) == [runs / name / "worst.png" for name in ("a", "a-1", "b")]
    assert asked[drawn[0]][:2] == ["sha_4", "sha_3"]  # 90 and 40 heads, counted as 20


def test_counts_are_kept_by_the_checkpoint_that_made_them(runs: Path, data: Path) -> None:
    _made(runs, data)
    lines = (runs / "a/counts.csv").read_text().splitlines()
    assert lines[0] == "checkpoint,id,predicted,true"
    assert len(lines) == 1 + 2 * len(HEADS)
    assert len({line.split(",")[0] for line in lines[1:]}) == 2
    assert counts_of_run(runs / "a", [])["best"] == []


def test_a_row_that_is_not_there_or_there_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="no row, or several, called 'moon'"):
        replace(TABLE, compared=(("taught", "moon"),))
    with pytest.raises(ConfigError, match="called 'taught'"):
        replace(TABLE, rows=(*TABLE.rows, TABLE.rows[0]))


@pytest.mark.parametrize("name", TABLES.names())
def test_every_run_of_a_shipped_table_is_a_recipe(name: str) -> None:
    table = TABLES[name]
    runs = [run for row in table.rows for run in row.runs]
    assert all(recipe(run) for run in runs)
    assert len(runs) == len(set(runs))
    assert table.compared


@pytest.mark.parametrize("name", TABLES.names())
def test_the_runs_of_a_row_differ_in_their_seeds_and_in_whose_weights_they_begin_with(
    name: str,
) -> None:
    for row in TABLES[name].rows:
        alike = [
            replace(recipe(run), seed=0, starts_from="", teachers={}, bank="") for run in row.runs
        ]
        assert all(one == alike[0] for one in alike)
        assert len({recipe(run).seed for run in row.runs}) == len(row.runs)


@pytest.mark.parametrize("name", TABLES.names())
def test_rows_of_one_net_are_compared_at_equal_crops_unless_they_say_otherwise(name: str) -> None:
    rows = {row.name: [recipe(run) for run in row.runs] for row in TABLES[name].rows}
    for first, second in TABLES[name].compared:
        ours, theirs = rows[first], rows[second]
        nets = [_bare(some[0]) for some in (ours, theirs)]
        if nets[0] == nets[1] and "half the crops" not in second:
            assert {_crops(one) for one in ours} == {_crops(one) for one in theirs}, (first, second)


@pytest.mark.parametrize("name", TABLES.names())
def test_no_teacher_ever_spoke_to_a_student_that_is_alone(name: str) -> None:
    alone = [row for row in TABLES[name].rows if row.name.endswith("alone") or "alone," in row.name]
    for row in alone:
        if "then alone" not in row.name:
            assert not any(_taught(recipe(run)) for run in row.runs), row.name


def _bare(one: Recipe) -> tuple[str, dict[str, Any]]:
    """The net that is reviewed, where one is: a review adds no parameter."""
    arguments = dict(one.net_arguments)
    if one.net != "reviewed":
        return one.net, arguments
    arguments.pop("passes")
    return arguments.pop("net"), arguments


def _taught(one: Recipe) -> bool:
    return bool(one.teachers) or bool(one.starts_from and _taught(recipe(one.starts_from)))


def _crops(one: Recipe) -> int:
    """What it has seen at its end, with the runs that it started from."""
    before = _crops(recipe(one.starts_from)) if one.starts_from else 0
    return before + one.steps * one.batch
