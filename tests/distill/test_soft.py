from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from distill.batch import Batch
from distill.losses.chi import pooled_chi, squared
from distill.methods import METHODS, Method
from distill.methods.fitnet import unexplained
from models.errors import ConfigError
from models.nets import NETS, CountingNet, Look
from models.spec import InputSpec


class Stubborn(CountingNet):
    """Says the same map of any frames."""

    spec = InputSpec(stride=8, multiple=8)

    def __init__(self, density_N1hw: Tensor) -> None:
        super().__init__()
        self.density = nn.Parameter(density_N1hw)

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        return {"frames": frames_N3HW}

    def decode(self, latent_NChw: Tensor) -> Look:
        return Look(self.density, {})

    @property
    def pull(self) -> Tensor:
        assert self.density.grad is not None
        return self.density.grad


def _batch(*, labelled: tuple[bool, ...] = (True, False)) -> Batch:
    torch.manual_seed(0)
    cells = torch.rand(len(labelled), 1, 8, 8)
    frames = torch.randn(len(labelled), 3, 64, 64)
    return Batch(frames, cells, cells, [torch.zeros(0, 2)] * len(labelled), torch.tensor(labelled))


def _soft(student: Tensor, teacher: Tensor, batch: Batch, **weights: float) -> dict[str, Tensor]:
    lessons = {"teacher": Look(teacher, {})}  # as from a bank: no hints
    method = METHODS["soft"](**weights)
    method.meet(student=Stubborn(student), teachers={})
    return method.terms(batch, student=Stubborn(student), lessons=lessons, done=0.5)


def test_a_student_is_left_alone_where_teachers_cannot_be_trusted() -> None:
    student, taught = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8) + 1
    trust = torch.zeros(1, 1, 8, 8)
    trust[..., :4] = 1
    lesson = Look(taught, {"trust": trust})
    batch, net = _batch(labelled=(False,)), Stubborn(student)
    terms = METHODS["soft"]().terms(batch, student=net, lessons={"teacher": lesson}, done=0.5)
    (terms["soft_cells"] + terms["soft_counts"]).backward()
    assert (net.pull[..., :4] != 0).all()
    squared_error = (student - taught).square()[..., :4].sum()
    assert terms["soft_cells"].item() == pytest.approx(squared_error.item())


def test_the_soft_terms_are_those_of_chi_against_the_teachers_map_in_every_crop() -> None:
    student, teacher = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    terms = _soft(student, teacher, _batch())
    assert set(terms) == {"cells", "counts", "soft_cells", "soft_counts"}
    cells_N = squared(predicted=student, target=teacher)
    counts_N = pooled_chi(predicted=student, heads=teacher)
    assert terms["soft_cells"].item() == pytest.approx(cells_N.mean().item())
    assert terms["soft_counts"].item() == pytest.approx(0.15 * counts_N.mean().item())


def test_a_student_that_repeats_its_teacher_has_nothing_soft_to_learn() -> None:
    density = torch.rand(2, 1, 8, 8)
    terms = _soft(density, density.half().float(), _batch())
    assert terms["soft_cells"].item() == pytest.approx(0, abs=1e-4)
    assert terms["soft_counts"].item() == pytest.approx(0, abs=1e-4)
    assert terms["cells"].item() > 0


def test_a_bank_may_keep_the_maps_in_half_precision() -> None:
    student, teacher = torch.rand(2, 1, 8, 8), 100 * torch.rand(2, 1, 8, 8).half()
    rough, fine = _soft(student, teacher, _batch()), _soft(student, teacher.float(), _batch())
    for name, term in rough.items():
        assert torch.equal(term, fine[name])


def test_fewer_than_no_people_are_not_taught() -> None:
    terms = _soft(torch.zeros(2, 1, 8, 8), torch.full((2, 1, 8, 8), -0.5), _batch())
    assert terms["soft_cells"].item() == terms["soft_counts"].item() == 0


def test_without_counts_the_squared_error_of_the_cells_is_left() -> None:
    student, teacher = torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8)
    terms = _soft(student, teacher, _batch(), cells=0.5, counts=0)
    assert "soft_counts" not in terms
    assert terms["soft_cells"].item() == 32


def test_a_crop_without_labels_is_taught_by_the_teacher_alone() -> None:
    student, batch = Stubborn(torch.zeros(2, 1, 8, 8)), _batch(labelled=(True, False))
    lessons = {"teacher": Look(torch.ones(2, 1, 8, 8), {})}
    for loss in ("supervised", "soft"):
        student.zero_grad()
        terms = METHODS[loss]().terms(batch, student=student, lessons=lessons, done=0.5)
        torch.stack(list(terms.values())).sum().backward()
        assert (student.pull[0] != 0).all()
        assert (student.pull[1] < 0).all() == (loss == "soft")


def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_crops() -> None:
    torch.manual_seed(1)
    student, teacher = NETS["csrnet"](ratio=16), NETS["csrnet"](ratio=8)
    batch = _batch(labelled=(True, True))
    for name in ("soft", "fitnet"):
        method = METHODS[name]()
        method.meet(student=student, teachers={"teacher": teacher})

        def said(one: Batch, method: Method = method) -> dict[str, Tensor]:
            lessons = {"teacher": teacher.look(one.frames_N3HW)}
            return method.terms(one, student=student, lessons=lessons, done=0.5)

        with torch.no_grad():
            whole = said(batch)
            alone = [said(_crop(batch, i)) for i in range(2)]
        for term, loss in whole.items():
            mean = sum(one[term].item() for one in alone) / 2
            assert loss.item() == pytest.approx(mean, rel=1e-4), f"{name}: {term}"
            assert alone[0][term].item() != pytest.approx(alone[1][term].item(), rel=1e-3)


def _crop(batch: Batch, i: int) -> Batch:
    return replace(
        batch,
        frames_N3HW=batch.frames_N3HW[i : i + 1],
        heads_N1hw=batch.heads_N1hw[i : i + 1],
        density_N1hw=batch.density_N1hw[i : i + 1],
        points=batch.points[i : i + 1],
        labelled_N=batch.labelled_N[i : i + 1],
    )


def test_a_hint_weighs_the_same_however_large_the_teachers_features_are() -> None:
    guess, hint = torch.rand(2, 5, 4, 3), torch.rand(2, 5, 4, 3)
    small, large = (unexplained(student=by * guess, teacher=by * hint) for by in (0.1, 30))
    torch.testing.assert_close(small, large)
    assert unexplained(student=hint, teacher=hint).tolist() == [0, 0]
    assert unexplained(student=0 * hint, teacher=hint).tolist() == pytest.approx([1, 1])


def test_a_teacher_without_any_active_channel_gives_a_finite_hint() -> None:
    guess = torch.rand(2, 5, 4, 3, requires_grad=True)
    unexplained(student=guess, teacher=torch.zeros(2, 5, 4, 3)).sum().backward()
    assert guess.grad is not None
    assert guess.grad.isfinite().all()


def test_student_and_teacher_of_a_hint_cannot_be_told_by_place() -> None:
    hint = torch.rand(1, 2, 3, 3)
    with pytest.raises(TypeError):
        unexplained(hint, hint)  # type: ignore[call-arg]  # what the test is about


def test_the_regressor_of_a_hint_learns_and_is_no_part_of_the_student() -> None:
    student, teacher = NETS["csrnet"](ratio=16), NETS["csrnet"](ratio=8)
    before = list(student.state_dict())
    method = METHODS["fitnet"](layer="back1", teacher_layer="back4")
    method.meet(student=student, teachers={"teacher": teacher})
    shapes = [tuple(parameter.shape) for parameter in method.parameters()]
    assert shapes == [(32, 32, 1, 1), (32,)]  # 512 / 16 channels to 256 / 8
    assert list(student.state_dict()) == before
    batch = _batch()
    lessons = {"teacher": teacher.look(batch.frames_N3HW)}
    terms = method.terms(batch, student=student, lessons=lessons, done=0.5)
    terms["hint"].backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_a_hint_of_which_nothing_is_learned_counts_half_the_cells() -> None:
    student, teacher, batch = NETS["csrnet"](ratio=16), NETS["csrnet"](ratio=8), _batch()
    method = METHODS["fitnet"]()
    method.meet(student=student, teachers={"teacher": teacher})
    for parameter, value in zip(method.parameters(), (0, -1), strict=True):  # weight and bias
        nn.init.constant_(parameter, value)
    lessons = {"teacher": teacher.look(batch.frames_N3HW)}
    terms = method.terms(batch, student=student, lessons=lessons, done=0.5)
    assert terms["hint"].item() == pytest.approx(0.5 * 8 * 8)  # below zero is zero, by the ReLU


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "moon"}, "fitnet finds no hint 'moon' in CsrNet: it has conv1_1, .*back6"),
        ({"teacher_layer": "moon"}, "fitnet finds no hint 'moon' in CsrNet"),
    ],
)
def test_a_hint_that_a_net_does_not_have_is_refused(
    arguments: dict[str, str], message: str
) -> None:
    student, teacher = NETS["csrnet"](ratio=16), NETS["csrnet"](ratio=8)
    with pytest.raises(ConfigError, match=message):
        METHODS["fitnet"](**arguments).meet(student=student, teachers={"teacher": teacher})


def test_hints_of_a_bank_are_refused() -> None:
    with pytest.raises(ConfigError, match="a bank holds none"):
        METHODS["fitnet"]().meet(student=NETS["csrnet"](ratio=16), teachers={})


def test_hints_of_two_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"has \(4, 4\) and the teacher's \(1, 1\)"):
        unexplained(student=torch.rand(1, 2, 4, 4), teacher=torch.rand(1, 2, 1, 1))
