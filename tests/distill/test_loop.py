from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distill.batch import Batch
from distill.crops import CropMaker
from distill.loop import Learner, device_of, schedule
from distill.recipes import Recipe, Teacher
from models.errors import ConfigError, ThrongError
from models.nets import NETS


def _learner(recipe: Recipe) -> Learner:
    torch.manual_seed(0)
    return Learner.of(recipe, NETS[recipe.net](**recipe.net_arguments))


def _steps(learner: Learner, number: int) -> list[dict[str, float]]:
    maker = CropMaker.of(learner.recipe, data=Path(), stride=8)
    return [learner.step(maker.batch(i), number=i, bf16=False) for i in range(number)]


@given(steps=st.integers(1, 1000), warmup=st.integers(0, 200), step=st.integers(0, 1000))
def test_the_rate_rises_to_one_and_falls_to_a_hundredth(steps: int, warmup: int, step: int) -> None:
    recipe = Recipe(net="throng-s", train=(), validate=(), steps=steps + warmup, warmup=warmup)
    share = schedule(recipe, min(step, recipe.steps - 1))
    assert 0 < share <= 1
    assert schedule(recipe, warmup) == pytest.approx(1)
    assert schedule(recipe, recipe.steps) == pytest.approx(0.01)


def test_frozen_parameters_keep_their_values_and_the_others_move(tiny: Recipe) -> None:
    learner = _learner(replace(tiny, frozen=("trunk.conv1.",)))
    before = {name: value.clone() for name, value in learner.student.named_parameters()}
    _steps(learner, 2)
    for name, value in learner.student.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("trunk.conv1.")


def test_the_average_follows_the_student_at_a_distance(tiny: Recipe) -> None:
    learner = _learner(replace(tiny, average=0.5))
    before = {name: value.clone() for name, value in learner.average.module.named_parameters()}
    _steps(learner, 3)
    for name, value in learner.student.named_parameters():
        average = learner.average.module.get_parameter(name)
        assert not torch.equal(average, value)
        assert not torch.equal(average, before[name])


def test_the_average_soon_forgets_its_first_weights(tiny: Recipe) -> None:
    learner = _learner(replace(tiny, average=0.999))
    name, weight = next(iter(learner.student.named_parameters()))
    for value in [0.0] + [1.0] * 100:
        torch.nn.init.constant_(weight, value)
        learner.average.update_parameters(learner.student)
    assert learner.average.module.get_parameter(name).min() > 0.99  # 0.1 at a steady 0.999


def test_a_step_says_its_terms_and_the_length_of_its_gradient(tiny: Recipe) -> None:
    for said in _steps(_learner(tiny), 2):
        assert set(said) == {"cells", "counts", "gradient"}
        assert said["gradient"] > 0


def test_what_chance_has_in_a_step_hangs_on_the_seed_and_the_step(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[tuple[int, ...]] = []

    def listening(batch: Batch, **_: object) -> dict[str, torch.Tensor]:
        seeds.append(batch.seed)
        return {"cells": next(learner.student.parameters()).sum()}

    for recipe in (tiny, replace(tiny, seed=1), tiny):
        learner = _learner(recipe)
        monkeypatch.setattr(learner.method, "terms", listening)
        _steps(learner, 2)
    assert seeds[:2] == seeds[4:]
    assert len(set(seeds)) == 4


def _rates(learner: Learner) -> dict[nn.Parameter, float]:
    groups = learner.optimiser.param_groups
    return {parameter: group["base"] for group in groups for parameter in group["params"]}


def test_what_started_from_published_weights_learns_at_the_trunk_s_rate(tiny: Recipe) -> None:
    """The rest of a trunk is as random as the head behind it."""
    student = NETS["throng-s"](width=8)
    published = set(student.get_submodule("trunk.layer2").parameters())
    rates = _rates(Learner.of(tiny, student, started=published))
    assert {rates.pop(parameter) for parameter in published} == {tiny.trunk_rate}
    assert set(rates.values()) == {tiny.rate}


@pytest.mark.parametrize("rate", [None, 0.25])
def test_the_parameters_of_a_method_may_have_a_rate(tiny: Recipe, rate: float | None) -> None:
    arguments = {"layers": ("front",), "inter": 0, "rate": rate}
    teachers = {"teacher": Teacher("quarter", fresh=True)}
    taught = replace(tiny, method="skt", method_arguments=arguments, teachers=teachers)
    student, teacher = NETS["csrnet"](ratio=16), NETS["csrnet"](ratio=8)
    learner = Learner.of(taught, student, {"teacher": teacher})
    rates = _rates(learner)
    assert {rates.pop(p) for p in learner.method.parameters()} == {rate or tiny.rate}
    assert set(rates.values()) == {tiny.rate}


def test_a_method_of_one_teacher_learns_from_the_mean_of_several(tiny: Recipe) -> None:
    teachers = {role: Teacher("throng-s-alone", fresh=True) for role in ("wide", "deep")}
    taught = replace(tiny, method="soft", teachers=teachers)
    nets = {role: NETS["throng-s"](width=8) for role in teachers}
    learner = Learner.of(taught, NETS["throng-s"](width=8), nets)
    crops = CropMaker.of(tiny, data=Path(), stride=8).batch(0)
    assert learner.step(crops, number=0, bf16=False)["soft_cells"] > 0


@pytest.mark.parametrize("method", ["fitnet", "reviewkd"])
def test_the_mean_of_several_teachers_has_no_features(tiny: Recipe, method: str) -> None:
    teachers = {role: Teacher("throng-s-alone", fresh=True) for role in ("wide", "deep")}
    taught = replace(tiny, method=method, method_arguments={}, teachers=teachers)
    if method == "reviewkd":
        taught = replace(taught, method_arguments={"review": 0.0})
    nets = {role: NETS["throng-s"](width=8) for role in teachers}
    with pytest.raises(ConfigError, match="a bank holds none"):
        Learner.of(taught, NETS["throng-s"](width=8), nets)


def test_teachers_that_a_method_has_no_use_for_are_refused(tiny: Recipe) -> None:
    taught = replace(tiny, teachers={"wide": Teacher("throng-s-alone")})
    with pytest.raises(ConfigError, match=r"supervised wants teachers \[\]"):
        Learner.of(taught, NETS["throng-s"](width=8))


def test_a_loss_that_is_not_finite_stops_the_run_before_the_weights_move(tiny: Recipe) -> None:
    learner = _learner(tiny)
    before = [value.clone() for value in learner.student.parameters()]
    crops = CropMaker.of(tiny, data=Path(), stride=8).batch(0)
    crops.density_N1hw[0, 0, 0, 0] = float("nan")
    with pytest.raises(ThrongError, match=r"not finite at step 4.*cells"):
        learner.step(crops, number=4, bf16=False)
    assert all(map(torch.equal, learner.student.parameters(), before))


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_move(tiny: Recipe) -> None:
    learner = _learner(tiny)
    before = [value.clone() for value in learner.student.parameters()]
    learner.student.get_parameter("neck.0.0.weight").register_hook(lambda grad: grad * torch.inf)
    with pytest.raises(ThrongError, match=r"the gradient is not finite at step 4.*cells"):
        learner.step(CropMaker.of(tiny, data=Path(), stride=8).batch(0), number=4, bf16=False)
    assert all(map(torch.equal, learner.student.parameters(), before))


def test_auto_takes_a_gpu_only_where_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto").type == "cpu"
    with pytest.raises(ConfigError, match="CUDA finds no GPU here; choose cpu or auto"):
        device_of("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto").type == device_of("cuda").type == "cuda"
    with pytest.raises(ConfigError, match="'tpu': wanted auto, cpu or cuda"):
        device_of("tpu")
