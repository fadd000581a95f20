import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from distill.crops import CropMaker, Crops
from distill.lineage import finished
from distill.recipes import Recipe, Teacher
from distill.run import ranking, train
from models.checkpoint import load_checkpoint
from models.errors import DataError
from models.metrics import Scores

HERE = Path()


class PowerCut(Exception):  # noqa: N818  # an event
    """The machine goes off."""


@dataclass
class Power:
    """Off: the fourth step does not come."""

    on: bool = False


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> Power:
    """It is off; every step is saved."""
    power, batch = Power(), CropMaker.batch

    def powered(maker: CropMaker, step: int) -> Crops:
        if step == 3 and not power.on:
            raise PowerCut
        return batch(maker, step)

    monkeypatch.setattr(CropMaker, "batch", powered)
    monkeypatch.setattr("distill.run.SAVE_EVERY_S", -1.0)
    return power


def _log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_run_cut_at_step_three_of_six_ends_bit_equal_to_one_never_cut(
    tiny: Recipe, power: Power, undrawn: None, tmp_path: Path
) -> None:
    with pytest.raises(PowerCut):
        train(tiny, data=HERE, out=tmp_path / "cut")
    with safe_open(tmp_path / "cut/state.safetensors", framework="pt") as stored:
        assert stored.metadata() == {"step": "3"}
    power.on = True
    train(tiny, data=HERE, out=tmp_path / "cut")
    train(tiny, data=HERE, out=tmp_path / "whole")
    for file in ("state.safetensors", "best.safetensors"):
        cut, whole = load_file(tmp_path / "cut" / file), load_file(tmp_path / "whole" / file)
        assert cut.keys() == whole.keys()
        assert all(torch.equal(cut[key], whole[key]) for key in whole)


def test_a_run_leaves_all_there_is_to_know_about_it(tiny: Recipe, tmp_path: Path) -> None:
    best = train(tiny, data=HERE, out=tmp_path / "run")
    assert {path.name for path in best.parent.iterdir()} == {
        "recipe.json", "log.jsonl", "state.safetensors", "best.safetensors", "last.safetensors",
        "predictions-6.png", "curve.png",
    }  # fmt: skip
    checkpoint = load_checkpoint(best)
    assert checkpoint.name == "throng-s"
    assert checkpoint.facts["step"] == 6
    assert checkpoint.facts["recipe"] == json.loads((best.parent / "recipe.json").read_text())
    begun, entry = _log(best.parent)
    assert begun["begins_at"] == 0
    assert {"commit", "machine"} < begun.keys()
    assert entry["validation"]["plaza"]["pictures"] == 2


def test_where_the_last_step_is_the_best_both_checkpoints_are_one_file(
    tiny: Recipe, undrawn: None, tmp_path: Path
) -> None:
    best = train(tiny, data=HERE, out=tmp_path)
    assert best.read_bytes() == (tmp_path / "last.safetensors").read_bytes()


def test_a_finished_run_is_not_trained_further(tiny: Recipe, undrawn: None, tmp_path: Path) -> None:
    best = train(tiny, data=HERE, out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert train(tiny, data=HERE, out=tmp_path) == best
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_run_goes_on_where_recipes_have_more_to_say_than_when_it_began(
    tiny: Recipe, undrawn: None, tmp_path: Path
) -> None:
    best = train(tiny, data=HERE, out=tmp_path)
    began = json.loads((tmp_path / "recipe.json").read_text())
    del began["augmentation"]["native"], began["decay"]
    (tmp_path / "recipe.json").write_text(json.dumps(began))
    assert train(tiny, data=HERE, out=tmp_path) == best
    with pytest.raises(DataError, match="another recipe"):
        train(replace(tiny, decay="constant"), data=HERE, out=tmp_path)


@pytest.mark.parametrize("described", ["{}", "{", "[1]"])
def test_a_folder_of_another_recipe_is_refused_and_left_alone(
    tiny: Recipe, described: str, tmp_path: Path
) -> None:
    (tmp_path / "recipe.json").write_text(described)
    with pytest.raises(DataError, match="another recipe: choose another --out, or remove it"):
        train(replace(tiny, seed=5), data=HERE, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


def test_a_run_whose_forebear_was_trained_anew_is_refused(
    tiny: Recipe, power: Power, undrawn: None, tmp_path: Path
) -> None:
    """What it learned would be of two teachers."""
    taught = replace(tiny, method="soft", teachers={"teacher": Teacher("first")})
    power.on = True
    train(tiny, data=HERE, out=tmp_path / "first")
    power.on = False
    with pytest.raises(PowerCut):
        train(taught, data=HERE, out=tmp_path / "taught")
    power.on = True
    shutil.rmtree(tmp_path / "first")
    train(replace(tiny, seed=1), data=HERE, out=tmp_path / "first")
    with pytest.raises(DataError, match=r"began with another first/best.safetensors"):
        train(taught, data=HERE, out=tmp_path / "taught")


def test_a_run_goes_on_after_a_log_that_a_full_disk_cut(
    tiny: Recipe, power: Power, undrawn: None, tmp_path: Path
) -> None:
    with pytest.raises(PowerCut):
        train(tiny, data=HERE, out=tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "seco')
    power.on = True
    train(tiny, data=HERE, out=tmp_path)
    assert [entry["step"] for entry in _log(tmp_path) if "rank" in entry] == [6]


def test_the_best_checkpoint_is_that_of_the_lowest_rank(
    tiny: Recipe, undrawn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = iter([0.5, 0.25, 0.75])
    monkeypatch.setattr("distill.run.ranking", lambda scores: next(ranks))
    best = train(replace(tiny, evaluate_every=2), data=HERE, out=tmp_path)
    assert load_checkpoint(best).facts["step"] == 4
    assert [entry["rank"] for entry in _log(tmp_path) if "rank" in entry] == [0.5, 0.25, 0.75]


@pytest.mark.parametrize("writes", ["save_checkpoint", "copyfile"])
def test_a_run_cut_while_it_saves_a_checkpoint_is_not_finished_and_saves_it_the_next_time(
    tiny: Recipe, undrawn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: str
) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise PowerCut

    with monkeypatch.context() as off:
        off.setattr(f"distill.run.{writes}", cut)
        with pytest.raises(PowerCut):
            train(tiny, data=HERE, out=tmp_path / "run")
    with pytest.raises(DataError, match="no finished run"):
        finished(tmp_path, "run")
    assert load_checkpoint(train(tiny, data=HERE, out=tmp_path / "run")).facts["step"] == 6
    finished(tmp_path, "run")


def test_a_run_that_starts_from_another_goes_on_with_the_crops_that_come_next(
    tiny: Recipe, undrawn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, batch = [], CropMaker.batch

    def listening(maker: CropMaker, step: int) -> Crops:
        asked.append(step)
        return batch(maker, step)

    monkeypatch.setattr(CropMaker, "batch", listening)
    for name, start in (("first", ""), ("second", "first"), ("third", "second")):
        train(replace(tiny, starts_from=start), data=HERE, out=tmp_path / name)
    assert asked == list(range(3 * tiny.steps))


def _scores(*, predicted: float, true: float) -> Scores:
    return Scores.of(predicted=[predicted] * 4, true=[true] * 4)


def test_a_tenth_too_many_ranks_alike_in_streets_and_in_crowds() -> None:
    street, crowd = _scores(predicted=110, true=100), _scores(predicted=1100, true=1000)
    assert ranking({"a": street}) == pytest.approx(ranking({"a": crowd}), rel=0.05)
    assert ranking({"a": street, "b": crowd}) < ranking({"a": _scores(predicted=120, true=100)})


def test_empty_pictures_can_be_ranked() -> None:
    assert ranking({"empty": _scores(predicted=1, true=0)}) == pytest.approx(0.2)
