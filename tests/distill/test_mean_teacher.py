from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from distill import state
from distill.batch import Batch
from distill.crops import Crops
from distill.loop import Learner
from distill.methods.mean_teacher import MeanTeacher
from distill.recipes import Recipe
from models.nets import NETS, CountingNet


def _met(**arguments: float) -> tuple[MeanTeacher, CountingNet]:
    torch.manual_seed(1)
    student = NETS["csrnet"](ratio=16)
    method = MeanTeacher(**arguments)  # type: ignore[arg-type]  # numbers, all of them
    method.meet(student=student, teachers={})
    return method, student


def _batch(labelled: list[bool]) -> Batch:
    torch.manual_seed(0)
    number = len(labelled)
    cells = torch.rand(number, 1, 8, 8)
    points = [torch.rand(32, 2) * 64 for _ in labelled]
    return Batch(
        torch.randn(number, 3, 64, 64), cells.round(), cells, points, torch.tensor(labelled)
    )


def _consistency(method: MeanTeacher, student: CountingNet, labelled: list[bool]) -> torch.Tensor:
    terms = method.terms(_batch(labelled), student=student, lessons={}, done=0.5)
    return terms["consistency"]


def test_the_student_agrees_with_itself_on_an_undisturbed_view() -> None:
    method, student = _met(noise=0, hidden=0)
    assert _consistency(method, student, [True, False]) == 0
    method, student = _met(noise=0.5, hidden=0.3)
    assert _consistency(method, student, [True, False]) > 0


def test_crops_with_labels_need_no_consistency_and_are_not_disturbed() -> None:
    method, student = _met(noise=0.5, hidden=0.9)
    assert _consistency(method, student, [True, True]) == 0
    batch = _batch([True, True])
    clean, student = _met(noise=0, hidden=0)
    said = [
        m.terms(batch, student=student, lessons={}, done=0.5)["cells"].item()
        for m in (method, clean)
    ]
    assert said[0] == said[1]


def test_consistency_teaches_the_student_and_not_its_average() -> None:
    method, student = _met()
    _consistency(method, student, [False, False]).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())
    assert all(p.grad is None and not p.requires_grad for p in method.parameters())


def test_the_average_follows_at_its_distance() -> None:
    method, student = _met(decay=0.75)
    name, weight = next(iter(student.named_parameters()))
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(4.0)
    _consistency(method, student, [False])
    assert torch.allclose(method.average.get_parameter(name), before + 1.0)


def _learner(recipe: Recipe) -> Learner:
    torch.manual_seed(0)
    return Learner.of(recipe, NETS["throng-s"](**recipe.net_arguments))


def _crops(step: int) -> Crops:
    batch = _batch([True, False, False])
    frames = np.random.default_rng(step).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    return Crops(
        torch.from_numpy(frames), batch.heads_N1hw, batch.density_N1hw, batch.points,
        batch.labelled_N,
    )  # fmt: skip


def test_a_run_that_goes_on_is_bit_equal_to_one_never_cut(tiny: Recipe, tmp_path: Path) -> None:
    recipe = replace(tiny, method="mean-teacher")
    whole, cut, gone_on = (_learner(recipe) for _ in "wcg")
    for learner, steps in ((whole, range(3)), (cut, range(2))):
        for step in steps:
            learner.step(_crops(step), number=step, bf16=False)
    state.save(tmp_path / "state", step=2, nets=cut.nets, optimiser=cut.optimiser)
    state.restore(tmp_path / "state", nets=gone_on.nets, optimiser=gone_on.optimiser)
    gone_on.step(_crops(2), number=2, bf16=False)
    for nets in ("student", "method"):
        there = gone_on.nets[nets].state_dict()
        for name, value in whole.nets[nets].state_dict().items():
            assert torch.equal(value, there[name])
