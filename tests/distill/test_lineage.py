from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from distill import state
from distill.lineage import (
    copy_method,
    copy_weights,
    finished,
    forebears,
    steps_before,
    teachers_of,
)
from distill.recipes import Recipe, Teacher
from models.checkpoint import save_checkpoint
from models.errors import DataError
from models.nets import NETS, CountingNet

Arguments = dict[str, Any]
WHOLE: Arguments = {"width": 8}
CUT: Arguments = {"width": 8, "blocks": (1, 2, 2)}


def _saved(folder: Path, net: CountingNet, arguments: Arguments, *, step: int = 9) -> Path:
    """The folder of a run of nine steps."""
    run = folder / "earlier"
    run.mkdir(exist_ok=True, parents=True)
    for name in ("best", "last"):
        save_checkpoint(
            run / f"{name}.safetensors", net, name="throng-m", arguments=arguments,
            facts={"step": step, "recipe": {"steps": 9}},
        )  # fmt: skip
    return run


def _later(**changed: Any) -> Recipe:
    return Recipe(net="throng-m", train=(), validate=(), steps=9, **changed)


def test_a_student_without_a_block_starts_with_the_rest(tmp_path: Path) -> None:
    whole, cut = NETS["throng-m"](**WHOLE), NETS["throng-m"](**CUT)
    copy_weights([_saved(tmp_path, whole, WHOLE)], cut)
    theirs = whole.state_dict()
    assert theirs.keys() - cut.state_dict().keys() == {
        f"trunk.layer1.1.conv{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")
    }
    assert all(torch.equal(value, theirs[name]) for name, value in cut.state_dict().items())


def test_a_student_with_a_block_more_is_another_net(tmp_path: Path) -> None:
    run = _saved(tmp_path, NETS["throng-m"](**CUT), CUT)
    with pytest.raises(DataError, match="another net than ThrongM"):
        copy_weights([run], NETS["throng-m"](**WHOLE))


def test_a_student_of_two_runs_starts_with_the_mean_of_their_weights(tmp_path: Path) -> None:
    nets = [NETS["throng-m"](**CUT) for _ in range(3)]
    runs = [_saved(tmp_path / str(number), net, CUT) for number, net in enumerate(nets[:2])]
    copy_weights(runs, nets[2])
    first, second, mean = (net.state_dict() for net in nets)
    for name, value in mean.items():
        assert torch.allclose(value, (first[name] + second[name]) / 2)


def test_a_run_knows_every_run_that_it_was_averaged_of(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _saved(tmp_path / name, NETS["throng-m"](**CUT), CUT)
    both = _later(starts_from="a/earlier", averaged_with=("b/earlier",))
    assert list(forebears(both, tmp_path)) == [
        "a/earlier/last.safetensors", "b/earlier/last.safetensors",
    ]  # fmt: skip
    assert steps_before(both, tmp_path) == 9


@pytest.mark.parametrize(
    "later", [_later(starts_from="earlier"), _later(teachers={"teacher": Teacher("earlier")})]
)
def test_a_run_that_is_missing_or_goes_on_still_hands_nothing_on(
    later: Recipe, tmp_path: Path
) -> None:
    """Its weights would be others tomorrow, under the same name."""
    with pytest.raises(
        DataError, match=r"no finished run at .*first `throng-distill run earlier --out .*/earlier`"
    ):
        forebears(later, tmp_path)
    _saved(tmp_path, NETS["throng-m"](**CUT), CUT, step=8)
    with pytest.raises(DataError, match=r"earlier is at step 8 of 9: first `throng-distill run"):
        forebears(later, tmp_path)
    run = _saved(tmp_path, NETS["throng-m"](**CUT), CUT)
    assert finished(tmp_path, "earlier") == run
    assert len(forebears(later, tmp_path)) == 1


def test_a_bank_is_known_by_its_page_which_names_its_teachers(tmp_path: Path) -> None:
    banked = _later(bank="crops", teachers={"teacher": Teacher("earlier")})
    with pytest.raises(DataError, match=r"no bank at .*crops: first `throng-distill bank RECIPE`"):
        forebears(banked, tmp_path)
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops/bank.json").write_text("one")
    before = forebears(banked, tmp_path)
    assert list(before) == ["crops/bank.json"]
    (tmp_path / "crops/bank.json").write_text("another")
    assert forebears(banked, tmp_path) != before


def test_a_teacher_is_the_best_of_its_run(tmp_path: Path) -> None:
    net = NETS["throng-m"](**CUT)
    _saved(tmp_path, net, CUT)
    taught = _later(teachers={"teacher": Teacher("earlier")})
    assert list(forebears(taught, tmp_path)) == ["earlier/best.safetensors"]
    teacher = teachers_of(taught, tmp_path)["teacher"].state_dict()
    assert all(torch.equal(value, teacher[name]) for name, value in net.state_dict().items())


def test_what_a_method_has_learned_goes_on_where_the_method_is_the_same(tmp_path: Path) -> None:
    learned, same, other = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1), nn.Conv2d(2, 4, 1)
    optimiser = torch.optim.SGD(learned.parameters())
    run = _saved(tmp_path, NETS["throng-m"](**CUT), CUT)
    file = run / "state.safetensors"
    state.save(file, step=8, nets={"method": learned}, optimiser=optimiser)
    with pytest.raises(
        DataError, match=r"cut as it ended: first `throng-distill run earlier --out .*/earlier`"
    ):
        copy_method(run, same)
    state.save(file, step=9, nets={"method": learned}, optimiser=optimiser)
    before = other.weight.clone()
    for method in (same, other, nn.Identity()):
        copy_method(run, method)
    assert torch.equal(same.weight, learned.weight)
    assert torch.equal(other.weight, before)
