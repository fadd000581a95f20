import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.__main__ import main
from models.checkpoint import save_checkpoint
from models.nets import NETS

Distill = Callable[..., int]
SMALL = {"width": 64, "depth": 1}


@pytest.fixture
def distill(monkeypatch: pytest.MonkeyPatch) -> Distill:
    """Runs `throng-distill ...` in this process; gives its exit code."""

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr("sys.argv", ["throng-distill", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    save_checkpoint(
        path, NETS["throng-s"](**SMALL), name="throng-s", arguments=SMALL, facts={"step": 1}
    )
    return path


def test_list_names_recipes_nets_methods_and_data_sets(
    distill: Distill, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill("list") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("throng-s-alone", "csrnet", "supervised", "plaza"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "moon"], "no recipe 'moon'; there are throng-m"),
        (["evaluate", "nowhere.safetensors"], "no checkpoint at nowhere.safetensors"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_two(
    distill: Distill, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert distill(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"throng-distill: {said}")


def test_an_unknown_data_set_or_split_is_one_line_too(
    distill: Distill, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill("evaluate", checkpoint, "--dataset", "moon") == 2
    assert distill("evaluate", checkpoint, "--dataset", "plaza", "--split", "moon") == 2
    unknown, split = capsys.readouterr().err.splitlines()
    assert "no 'moon'; it has jhu" in unknown
    assert "no split 'moon'; it has train" in split


def test_a_fold_that_is_none_of_the_three_is_refused(
    distill: Distill, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill("evaluate", checkpoint, "--fold", "half") == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert all(fold in said for fold in ("all", "train", "held"))


@pytest.mark.usefixtures("small_plaza")
def test_evaluate_prints_one_json_object_and_writes_every_count(
    distill: Distill, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = tmp_path / "counts.csv"
    plaza = ("--dataset", "plaza", "--split", "smoke")
    assert distill("evaluate", checkpoint, *plaza, "--json", "--counts", counts) == 0
    scores = json.loads(capsys.readouterr().out)
    rows = list(csv.DictReader(counts.read_text().splitlines()))
    errors = [abs(float(row["predicted"]) - int(row["true"])) for row in rows]
    assert [row["id"] for row in rows] == ["plaza_20_5", "plaza_20_65"]
    assert scores["plaza"]["mae"] == pytest.approx(sum(errors) / 2, abs=0.001)


def test_evaluate_of_pictures_without_people_is_json_too(
    distill: Distill, checkpoint: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill("evaluate", checkpoint, "--data", packed, "--json") == 0
    scores = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert {part: score["nae"] for part, score in scores.items()} == {"sha": None, "shb": None}


@pytest.mark.usefixtures("small_plaza")
def test_evaluate_prints_a_table_for_people(
    distill: Distill, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill("evaluate", checkpoint, "--dataset", "plaza", "--split", "smoke") == 0
    assert "plaza" in capsys.readouterr().out


@pytest.mark.slow
def test_the_smoke_recipe_runs_from_end_to_end_and_can_be_evaluated(
    distill: Distill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "smoke"
    assert distill("run", "throng-m-smoke", "--out", out, "--threads", "1") == 0
    assert "best.safetensors" in capsys.readouterr().out.replace("\n", "")
    plaza = ("--dataset", "plaza", "--split", "smoke", "--json")
    assert distill("evaluate", out / "best.safetensors", *plaza) == 0
    assert json.loads(capsys.readouterr().out)["plaza"]["pictures"] == 4
