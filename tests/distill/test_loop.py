from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.bank import make_bank
from distill.crops import CropMaker
from distill.loop import Learner, device_of, schedule
from distill.recipes import Recipe, Teacher, recipe
from distill.run import train
from models.checkpoint import load_checkpoint
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
    learner = _learner(replace(tiny, frozen=("stem.",)))
    before = {name: value.clone() for name, value in learner.student.named_parameters()}
    _steps(learner, 2)
    for name, value in learner.student.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("stem.")


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


def test_a_trunk_with_initial_weights_learns_at_its_own_rate(tiny: Recipe) -> None:
    recipe = replace(tiny, net="throng-m", net_arguments={"width": 16})
    scratch = Learner.of(recipe, NETS["throng-m"](width=16))
    started = Learner.of(replace(recipe, trunk_weights="some.npz"), NETS["throng-m"](width=16))
    assert [group["base"] for group in scratch.optimiser.param_groups] == [recipe.rate]
    rates = [group["base"] for group in started.optimiser.param_groups]
    assert rates == [recipe.rate, recipe.trunk_rate]


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


def test_auto_takes_a_gpu_only_where_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto").type == "cpu"
    with pytest.raises(ConfigError, match="CUDA finds no GPU here; choose cpu or auto"):
        device_of("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto").type == device_of("cuda").type == "cuda"
    with pytest.raises(ConfigError, match="'tpu': wanted auto, cpu or cuda"):
        device_of("tpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", ["skt", "reviewkd", "mgd-5", "mean-teacher-5", "teacher-wide-zip"])
def test_a_run_on_a_gpu_leaves_a_checkpoint_for_anywhere(name: str, tmp_path: Path) -> None:
    gpu = torch.device("cuda")
    best = train(recipe(f"{name}-smoke"), data=Path(), out=tmp_path / name, device=gpu)
    net = load_checkpoint(best).net
    assert {parameter.device.type for parameter in net.parameters()} == {"cpu"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_can_fill_a_bank(tmp_path: Path) -> None:
    taught = recipe("throng-s-banked-smoke")
    gpu = torch.device("cuda")
    make_bank(taught, data=Path(), runs=tmp_path, out=tmp_path / "bank", crops=4, device=gpu)
    assert list((tmp_path / "bank").glob("shard-*"))
