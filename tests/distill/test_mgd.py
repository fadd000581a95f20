from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from distill import state
from distill.batch import Batch, Lessons
from distill.crops import Crops
from distill.cutmix import Mix
from distill.loop import Learner
from distill.methods.mgd import (
    LEVELS,
    Mgd,
    Weights,
    cosines,
    histogram,
    levels,
    regional,
    similarity,
    total,
    trusted,
)
from distill.recipes import Recipe, Teacher
from distill.views import agreement
from models.errors import ConfigError
from models.nets import NETS, CountingNet, Look

LABELS = [[True, True, True, True], [False, False, False, False], [True, False, True, False]]


class Seen(CountingNet):
    """Looks with a net and remembers what it was shown."""

    def __init__(self, net: CountingNet) -> None:
        super().__init__()
        self.net, self.spec = net, net.spec
        self.frames_N3HW = torch.zeros(0)

    def encode(self, frames_N3HW: torch.Tensor) -> dict[str, torch.Tensor]:
        self.frames_N3HW = frames_N3HW
        return self.net.encode(frames_N3HW)

    def decode(self, latent_NChw: torch.Tensor) -> Look:
        return self.net.decode(latent_NChw)


def _batch(labelled: list[bool]) -> Batch:
    torch.manual_seed(0)
    number = len(labelled)
    cells = torch.rand(number, 1, 8, 8)
    points = [torch.rand(32, 2) * 64 for _ in labelled]
    return Batch(
        torch.randn(number, 3, 64, 64), cells.round(), cells, points, torch.tensor(labelled)
    )


def _lessons(batch: Batch) -> Lessons:
    number = len(batch.frames_N3HW)
    return {
        role: Look(torch.rand(number, 1, 8, 8), {"deep": torch.rand(number, 12, 4, 4)})
        for role in Mgd.roles
    }


def _met(**arguments: object) -> tuple[Mgd, CountingNet]:
    torch.manual_seed(1)
    student = NETS["csrnet"](ratio=16)
    method = Mgd(**arguments)  # type: ignore[arg-type]  # the test says which
    teacher = NETS["csrnet"](ratio=16)
    method.meet(student=student, teachers={"deeper": teacher, "wider": teacher})
    return method, student


@pytest.mark.parametrize("labelled", LABELS)
def test_every_kind_of_batch_gives_finite_losses_and_a_gradient(labelled: list[bool]) -> None:
    method, student = _met()
    batch = _batch(labelled)
    terms = method.terms(batch, student=student, lessons=_lessons(batch), done=0.5)
    assert set(terms) == {
        "cells", "counts", "pixel", "regions", "image", "levels", "similarity",
    }  # fmt: skip
    assert (terms["cells"] > 0) == any(labelled)
    assert all(term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for parameter in student.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("term", ["pixel", "regions", "image", "levels", "similarity"])
def test_each_of_its_terms_alone_teaches_crops_without_labels(term: str) -> None:
    method, student = _met()
    batch = _batch([False, False])
    terms = method.terms(batch, student=student, lessons=_lessons(batch), done=0.5)
    terms[term].backward()
    first = next(student.parameters()).grad
    assert first is not None
    assert first.abs().sum() > 0


def test_each_granularity_hears_the_teacher_that_is_to_speak_of_it() -> None:
    """The deeper one of the whole picture, the wider one of its regions' likeness, both of each
    pixel, and of that only as far as labels agree where there are some.
    """
    method, student = _met(weights=dict.fromkeys(Weights.__annotations__, 1.0), ramp=0.0)
    batch = _batch([True, True])  # which are not mixed
    lessons, look = _lessons(batch), student.look(batch.frames_N3HW)
    terms = method.terms(batch, student=student, lessons=lessons, done=0.0)
    said = look.density_N1hw.float()
    deeper, wider = (lessons[role].density_N1hw for role in ("deeper", "wider"))
    both = (deeper + wider) / 2
    trust = agreement([both, batch.density_N1hw])
    expected = {
        "pixel": trusted(said, both, trust),
        "regions": regional(said, both),
        "image": total(said, deeper),
        "levels": levels(said, deeper),
        "similarity": similarity(list(look.hints.values())[-1], lessons["wider"].hints["deep"]),
    }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_only_the_student_sees_mixed_frames_and_labelled_crops_stay() -> None:
    method, student = _met()
    seen, batch = Seen(student), _batch([True, False, False])
    before = batch.frames_N3HW.clone()
    method.terms(batch, student=seen, lessons=_lessons(batch), done=0.5)
    assert torch.equal(seen.frames_N3HW[0], before[0])
    assert not torch.equal(seen.frames_N3HW[1], before[1])
    assert torch.equal(batch.frames_N3HW, before)


def test_another_seed_of_a_batch_mixes_its_frames_otherwise() -> None:
    method, student = _met()
    batch, shown = _batch([False, False]), []
    for seed in ((0, 7), (0, 7), (1, 7)):
        seen = Seen(student)
        method.terms(replace(batch, seed=seed), student=seen, lessons=_lessons(batch), done=0.5)
        shown.append(seen.frames_N3HW)
    assert torch.equal(shown[0], shown[1])
    assert not torch.equal(shown[0], shown[2])


def test_boxes_fit_the_coarsest_grid_of_student_and_teachers() -> None:
    method, student = Mgd(), NETS["csrnet"](ratio=16)
    coarse = NETS["throng-m"](width=16)
    method.meet(student=student, teachers={"deeper": student, "wider": coarse})
    assert method.unit == 2


def test_teachers_count_for_nothing_at_first_and_fully_after_the_ramp() -> None:
    method, student = _met(ramp=0.2)
    batch = _batch([True, True])
    lessons = _lessons(batch)
    early, ramped, late = (
        method.terms(batch, student=student, lessons=lessons, done=done)["regions"].item()
        for done in (0.0, 0.2, 0.9)
    )
    assert early < 0.01 * late
    assert ramped == late


def test_features_are_wanted_only_where_they_count() -> None:
    student = NETS["csrnet"](ratio=16)
    with pytest.raises(ConfigError, match="a bank holds none: set weights="):
        Mgd().meet(student=student, teachers={})
    method = Mgd(weights={"similarity": 0})
    method.meet(student=student, teachers={})
    batch = _batch([True, False])
    banked = {role: Look(look.density_N1hw, {}) for role, look in _lessons(batch).items()}
    assert "similarity" not in method.terms(batch, student=student, lessons=banked, done=0.5)


def test_a_hint_that_is_not_there_is_refused_with_those_there_are() -> None:
    method, student = _met(wider_hint="moon")
    batch = _batch([True])
    with pytest.raises(ConfigError, match="hint 'moon'; there are deep"):
        method.terms(batch, student=student, lessons=_lessons(batch), done=0.5)


def test_cells_without_trust_teach_nothing() -> None:
    predicted = torch.rand(1, 1, 6, 6, requires_grad=True)
    pasted = torch.zeros(1, 1, 6, 6, dtype=torch.bool)
    pasted[..., :3, :3] = True
    border = Mix(pasted, torch.tensor([0])).border()
    trusted(predicted, torch.zeros(1, 1, 6, 6), (~border).float()).backward()
    assert predicted.grad is not None
    assert torch.equal(predicted.grad == 0, border)


def test_self_similarity_needs_no_equal_channels_and_no_equal_sizes() -> None:
    features = torch.rand(2, 6, 14, 14)
    wide = torch.cat([features, features, features], dim=1) * 5
    large = wide.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert similarity(features, large) < 1e-10
    assert similarity(features, torch.rand(2, 6, 14, 14)) > 1e-4
    assert cosines(features).shape == (2, 49, 49)


def test_regional_counts_see_where_people_are_and_how_many() -> None:
    target = torch.zeros(1, 1, 32, 32)
    target[..., 0, 0] = 3
    assert regional(target, target) == 0
    assert regional(target.roll(1, dims=-1), target) == pytest.approx(0)  # within a region
    assert regional(target.roll(4, dims=-1), target).item() == pytest.approx(6)  # of the finer grid
    assert regional(target.roll(16, dims=-1), target).item() == pytest.approx(12)  # of both grids
    assert regional(2 * target, target).item() == pytest.approx(6)


def test_the_total_does_not_see_where_people_are_and_forgives_in_crowds() -> None:
    target = torch.rand(2, 1, 8, 8)
    assert total(target.flip(2), target) < 1e-6
    few, many = torch.full((1, 1, 1, 1), 10.0), torch.full((1, 1, 1, 1), 990.0)
    assert total(few + 5, few).item() == pytest.approx(5 / 20)
    assert total(many + 5, many).item() == pytest.approx(5 / 1000)


def test_a_histogram_of_levels_sums_to_one_and_has_no_negative_share() -> None:
    density = torch.cat([torch.rand(2, 1, 8, 8) * scale for scale in (0.01, 1.0, 30.0)])
    density[0] = 0
    density[1] = -0.5
    shares = histogram(density)
    assert shares.shape == (6, 25)
    assert shares.sum(dim=1).tolist() == pytest.approx([1.0] * 6)
    assert (shares >= -1e-6).all()
    assert shares[0, 0] == shares[1, 0] == 1


def test_a_cell_between_two_levels_counts_in_both() -> None:
    between = (LEVELS[22] + LEVELS[23]) / 2
    shares = histogram(torch.full((1, 1, 4, 4), between))[0]
    assert shares[-2:].tolist() == pytest.approx([0.5, 0.5])
    assert histogram(torch.full((1, 1, 4, 4), 100.0))[0, -1] == 1


def test_levels_do_not_see_where_a_cell_is() -> None:
    target = torch.rand(1, 1, 8, 8)
    assert levels(target.flip(2), target) < 1e-6
    assert levels(target * 2, target) > 0.1


def _learner(recipe: Recipe) -> Learner:
    torch.manual_seed(0)
    nets = [NETS["throng-s"](**recipe.net_arguments) for _ in "sdw"]
    return Learner.of(recipe, nets[0], {"deeper": nets[1], "wider": nets[2]})


def _crops(step: int) -> Crops:
    batch = _batch([True, False, False])
    frames = np.random.default_rng(step).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    return Crops(
        torch.from_numpy(frames), batch.heads_N1hw, batch.density_N1hw, batch.points,
        batch.labelled_N,
    )  # fmt: skip


def test_a_run_that_goes_on_is_bit_equal_to_one_never_cut(tiny: Recipe, tmp_path: Path) -> None:
    recipe = replace(
        tiny, method="mgd", teachers={role: Teacher("throng-s-alone") for role in Mgd.roles}
    )
    whole, cut, gone_on = (_learner(recipe) for _ in "wcg")
    for learner, steps in ((whole, range(3)), (cut, range(2))):
        for step in steps:
            learner.step(_crops(step), number=step, bf16=False)
    state.save(tmp_path / "state", step=2, nets=_kept(cut), optimiser=cut.optimiser)
    state.restore(tmp_path / "state", nets=_kept(gone_on), optimiser=gone_on.optimiser)
    gone_on.step(_crops(2), number=2, bf16=False)
    for name, value in whole.student.state_dict().items():
        assert torch.equal(value, gone_on.student.state_dict()[name])


def _kept(learner: Learner) -> dict[str, nn.Module]:
    """mgd has no weights of its own."""
    return {"student": learner.student, "average": learner.average}
