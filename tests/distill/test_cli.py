import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from distill.__main__ import main
from distill.published import LAYOUTS
from distill.recipes import Part
from models.checkpoint import save_checkpoint
from models.nets import NETS
from models.nets.throng_s import ThrongS

Distill = Callable[..., int]
SMALL = {"width": 8}


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


def test_without_the_packages_of_training_one_line_says_so() -> None:
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "sys.argv = ['throng-distill', 'list']\n"
        "from distill.__main__ import main\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    said = "throng-distill: this wants the package torch (pip install 'throng[train]')\n"
    assert (ran.returncode, ran.stderr) == (1, said)


def test_list_names_recipes_nets_methods_and_data_sets(
    distill: Distill, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill("list") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("throng-s-alone", "csrnet", "supervised", "plaza"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "moon"], "no recipe 'moon'; there are bl, "),
        (["corrupt", "nowhere.safetensors"], "'nowhere.safetensors': wanted NAME=FILE"),
        (["corrupt", "s=nowhere.safetensors"], "no checkpoint at nowhere.safetensors"),
        (["evaluate", "nowhere.safetensors"], "no checkpoint at nowhere.safetensors"),
        (["speed", "throng-s:width=8", "throng-s:width=8", "--size", "640x362"], "sides must be"),
        (["speed", "csrnet:ratio=0", "csrnet"], "'csrnet:ratio=0' is not a net"),
        (["run", "supervised-5-smoke", "--out", __file__], f"{__file__} cannot be a folder (File"),
        (["table", "skt", "--out", f"{__file__}/x"], f"{__file__}/x cannot be a folder (Not a"),
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


def test_corrupt_prints_and_keeps_what_a_net_counts_when_pictures_are_bad(
    distill: Distill, checkpoint: Path, packed: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    parts = {"part A": Part("pack", "val", prefix="sha_")}
    monkeypatch.setattr("distill.robustness.PARTS", parts)
    out = tmp_path / "out"
    assert distill("corrupt", f"small={checkpoint}", "--data", packed, "--out", out) == 0
    said = capsys.readouterr().out
    assert {path.suffix for path in out.iterdir()} == {".json", ".md"}
    assert said.count("## part A") == said.count("| night |") == 1


def test_evaluate_of_pictures_without_people_is_json_too(
    distill: Distill, checkpoint: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill("evaluate", checkpoint, "--data", packed, "--json") == 0
    scores = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert {part: score["nae"] for part, score in scores.items()} == {"sha": None, "shb": None}


@pytest.mark.usefixtures("small_plaza")
def test_evaluate_counts_with_checkpoints_of_published_code(
    distill: Distill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, path = NETS["csrnet"](ratio=16), tmp_path / "0model_best.pth.tar"
    theirs = dict(zip(LAYOUTS["skt"].keys, net.state_dict().values(), strict=True))
    torch.save({"state_dict": theirs}, path)
    plaza = ("--dataset", "plaza", "--split", "smoke")
    assert distill("evaluate", path, "--published", "skt", *plaza, "--json") == 0
    assert json.loads(capsys.readouterr().out)["plaza"]["pictures"] == 2
    assert distill("evaluate", path, "--published", "bl", *plaza) == 2
    assert "0model_best.pth.tar" in capsys.readouterr().err


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


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of twelve frames of 256 x 256 without people, six of them labelled so."""
    folder = tmp_path / "site"
    folder.mkdir()
    names = [f"{number:02}.png" for number in range(12)]
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((256, 256, 3), 10 * number, np.uint8))
    rows = "".join(f"{name},,\n" for name in names[:6])
    (folder / "labels.csv").write_text(f"picture,x,y\n{rows}")
    return folder


def _crowded(path: Path) -> None:
    """A checkpoint that sees a person in every cell."""
    net = NETS["throng-s"](**SMALL)
    assert isinstance(net, ThrongS)
    torch.nn.init.zeros_(net.head.out.weight)
    torch.nn.init.ones_(net.head.out.bias)  # type: ignore[arg-type]  # on by default
    save_checkpoint(path, net, name="throng-s", arguments=SMALL, facts={})


def test_adapt_writes_a_student_that_counts_the_site_better(
    distill: Distill, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _crowded(tmp_path / "best.safetensors")
    (site / "07.png").write_bytes(b"")
    asked = ("--camera-frames", site, "--student", tmp_path / "best.safetensors", "--threads", "1")
    out = tmp_path / "adapted"
    assert distill("adapt", *asked, "--out", out, "--steps", "2") == 0
    said = capsys.readouterr().out
    assert "1 pictures cannot be read, such as 07.png" in said
    assert "MAE on 3 held-out frames: 1024.00 before" in said
    assert {path.name for path in out.iterdir()} == {
        "adapted.safetensors", "report.json", "report.md",
    }  # fmt: skip
    assert distill("adapt", *asked, "--out", out) == 2
    assert "is not an empty folder" in capsys.readouterr().err


def test_what_adapt_cannot_use_is_one_line_and_exit_code_two(
    distill: Distill,
    checkpoint: Path,
    site: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["--camera-frames", site, "--student", checkpoint, "--out", tmp_path / "adapted"]
    for more, said in (
        (["--size", "big"], "--size 'big': wanted width x height"),
        (["--teacher", "deeper"], "--teacher deeper: wanted ROLE=CHECKPOINT"),
        (["--teacher", f"deeper={checkpoint}"], "wanted deeper and wider, or none"),
        (["--labels", site / "none.csv"], "none.csv cannot be read"),
        (["--camera-frames", tmp_path / "none"], "no labels.csv or labels.json in"),
    ):
        assert distill("adapt", *asked, *more) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert said in captured.err


def test_table_writes_what_has_run_and_what_has_not(
    distill: Distill, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results"
    options = ("--runs", tmp_path / "runs", "--data", packed, "--out", out)
    assert distill("table", "skt", *options) == 0
    assert capsys.readouterr().out.count("saved ") == 2
    (page,) = out.glob("*-skt.md")
    assert "`throng-distill run skt-plain-2`" in page.read_text()
    assert distill("table", "moon", *options) == 2
    assert "distill.tables has no 'moon'; it has bl, mgd" in capsys.readouterr().err


def test_speed_times_two_nets_beside_each_other(
    distill: Distill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, out = "throng-s:width=8", tmp_path / "results"
    nets = ("throng-s", small, "--size", "128x96", "--rounds", "3")
    assert distill("speed", *nets, "--out", out) == 0
    assert "ratio " in capsys.readouterr().out
    (data,) = out.glob("*.json")
    found = json.loads(data.read_text())
    assert found["size_hw"] == [96, 128]
    assert found["student"]["name"] == small
    assert found["teacher"]["gmacs"] > found["student"]["gmacs"]


def test_bank_of_a_recipe_without_teachers_is_refused(
    distill: Distill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill("bank", "throng-s-alone", "--out", tmp_path / "bank") == 2
    assert "choose a recipe that has teachers" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "bank", "evaluate", "table", "speed", "adapt", "list"])
def test_every_command_teaches(
    distill: Distill, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert distill(command, "--help") == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_what_stands_in_square_brackets_is_part_of_the_help(
    distill: Distill, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill("adapt", "--help") == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "[default: labels.csv or .json there]" in said
    assert '{"a.jpg": [[x, y], ...], "empty.jpg": []}' in said
