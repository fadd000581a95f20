from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.batch import Batch
from distill.methods import Method
from distill.methods.skt import LAYERS, Skt, pattern_gaps, relation_gaps, relations
from models.errors import ConfigError
from models.nets import NETS, CountingNet, Look, parameters_of

BACK = {"back1": "back1", "back4": "back4"}
POSITIONS = 64 * 64 + 32 * 32 + 16 * 16 + 3 * 8 * 8  # of the six layers, in a crop of 64 px


def _batch(crops: int = 2, *, side: int = 64) -> Batch:
    torch.manual_seed(0)
    cells = torch.rand(crops, 1, side // 8, side // 8)
    frames = torch.randn(crops, 3, side, side)
    labelled = torch.tensor([True] + [False] * (crops - 1))
    return Batch(frames, cells, cells, [torch.zeros(0, 2)] * crops, labelled)


class Lesson:
    """SKT with a student and a teacher that is wider."""

    def __init__(self, **arguments: Any) -> None:
        torch.manual_seed(0)
        self.student: CountingNet = NETS["csrnet"](ratio=16)
        self.teacher: CountingNet = NETS["csrnet"](ratio=8)
        self.method: Method = Skt(**arguments)
        self.method.meet(student=self.student, teachers={"teacher": self.teacher})

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            lessons = {"teacher": self.teacher.look(batch.frames_N3HW)}
        return self.method.terms(batch, student=self.student, lessons=lessons, done=0.5)


def _wake(net: nn.Module, bias: float = 2.0) -> None:
    """So large a bias that no position of a layer is silent."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.bias, bias)  # type: ignore[arg-type]  # on by default


def _features(crops: int = 3) -> list[Tensor]:
    """Two layers, the first twice as fine, and a map."""
    shapes = [(4, 12, 10), (7, 6, 5), (1, 6, 5)]
    return [torch.randn(crops, *shape) for shape in shapes]


def _one(features: Sequence[Tensor], i: int) -> list[Tensor]:
    return [feature[i : i + 1] for feature in features]


# relations


def test_relations_are_the_correlations_of_max_pooled_channels() -> None:
    layers = _features(1)
    pooled = [F.max_pool2d(layers[0], 2), *layers[1:]]
    flat = [layer[0].flatten(1).numpy() for layer in pooled]
    for got, (a, b) in zip(relations(layers), combinations(flat, 2), strict=True):
        assert got[0].numpy() == pytest.approx(np.corrcoef(a, b)[: len(a), len(a) :], abs=1e-4)


def test_each_crop_of_a_batch_has_relations_of_its_own() -> None:
    layers = _features()
    alone = [relations(_one(layers, i)) for i in range(3)]
    for pair, got in enumerate(relations(layers)):
        torch.testing.assert_close(got, torch.cat([one[pair] for one in alone]))
        assert not torch.allclose(got[0], got[1])


@pytest.mark.parametrize(("height", "width"), [(37, 51), (9, 12), (16, 24), (3, 70)])
def test_layers_of_odd_sizes_are_pooled_as_the_net_pools(height: int, width: int) -> None:
    layer, pooled = (torch.randn(2, 4, height, width),) * 2
    for _ in range(3):
        pooled = F.max_pool2d(pooled, 2, ceil_mode=True)
    cells = torch.randn(2, 1, *pooled.shape[2:])
    (got,), (want,) = relations([layer, cells]), relations([pooled, cells])
    assert torch.equal(got, want)


def test_a_layer_coarser_than_the_map_repeats_its_positions() -> None:
    layer, cells = torch.randn(2, 4, 3, 5), torch.randn(2, 1, 6, 10)
    repeated = layer.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    (got,), (want,) = relations([layer, cells]), relations([repeated, cells])
    assert torch.equal(got, want)


@pytest.mark.parametrize("cells", [(6, 5), (1, 1)])
def test_channels_that_are_the_same_everywhere_relate_to_nothing(cells: tuple[int, int]) -> None:
    flat = torch.full((2, 4, *cells), 3.0, requires_grad=True)
    (got,) = relations([flat, torch.randn(2, 1, *cells)])
    assert got.abs().max().item() == pytest.approx(0, abs=1e-3)
    got.square().sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_relations_are_taken_in_full_precision_under_autocast() -> None:
    layers = [layer.bfloat16() for layer in _features()]
    with torch.autocast("cpu", torch.bfloat16):
        got = relations(layers)
    for cast, plain in zip(got, relations([layer.float() for layer in layers]), strict=True):
        assert cast.dtype == torch.float32
        assert torch.equal(cast, plain)


# patterns


def test_a_pattern_is_a_direction_of_channels_at_a_position() -> None:
    teacher = torch.rand(2, 8, 5, 4) + 0.1
    lengths = torch.rand(2, 1, 5, 4) + 0.5
    gaps = pattern_gaps(student=lengths * teacher, teacher=teacher)
    assert gaps.shape == (2, 5, 4)
    assert gaps.abs().max().item() == pytest.approx(0, abs=1e-6)
    elsewhere = pattern_gaps(student=teacher.roll(1, dims=2), teacher=teacher)
    assert elsewhere.min().item() > 1e-3
    opposite = pattern_gaps(student=-teacher, teacher=teacher)
    assert opposite.min().item() == pytest.approx(2)


def test_cosines_are_taken_in_full_precision_under_autocast() -> None:
    student, teacher = torch.rand(2, 64, 5, 4).bfloat16(), torch.rand(2, 64, 5, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        got = pattern_gaps(student=student, teacher=teacher)
    assert got.dtype == torch.float32
    assert torch.equal(got, pattern_gaps(student=student.float(), teacher=teacher.float()))


def test_positions_without_an_active_channel_have_a_finite_loss_and_gradient() -> None:
    for silent in ("student", "teacher", "both"):
        student = torch.rand(1, 8, 2, 2) * (silent == "teacher")
        teacher = torch.rand(1, 8, 2, 2) * (silent == "student")
        student.requires_grad_()
        gaps = pattern_gaps(student=student, teacher=teacher)
        assert gaps.flatten().tolist() == [1, 1, 1, 1]
        gaps.sum().backward()
        assert student.grad is not None
        assert student.grad.isfinite().all()


def test_student_and_teacher_cannot_be_told_by_place() -> None:
    feature = torch.rand(1, 2, 3, 3)
    with pytest.raises(TypeError):
        pattern_gaps(feature, feature)  # type: ignore[call-arg]  # what the test is about
    with pytest.raises(TypeError):
        relation_gaps([feature], [feature])  # type: ignore[call-arg]  # what the test is about


# the method


def test_a_crop_of_576_x_864_has_the_published_number_of_positions_and_entries() -> None:
    with torch.device("meta"):
        hints = NETS["csrnet"]().look(torch.empty(1, 3, 576, 864)).hints
    layers = [hints[name] for name in LAYERS]
    assert sum(pattern_gaps(student=a, teacher=a).numel() for a in layers) == 676_512
    small = [torch.rand(1, layer.shape[1], 2, 2) for layer in layers]
    assert sum(matrix.numel() for matrix in relations([*small, torch.rand(1, 1, 2, 2)])) == 611_584


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_crops(reduction: str) -> None:
    lesson, batch = Lesson(reduction=reduction), _batch(2)
    batch.labelled_N[:] = True
    with torch.no_grad():
        whole = lesson.terms(batch)
        alone = [lesson.terms(_crop(batch, i)) for i in range(2)]
    assert set(whole) == {"cells", "soft", "intra", "inter"}
    for name, loss in whole.items():
        first, second = (one[name].item() for one in alone)
        assert loss.item() == pytest.approx((first + second) / 2, rel=1e-4)
        assert first != pytest.approx(second, rel=1e-4), f"{name} does not tell the crops apart"


def _crop(batch: Batch, i: int) -> Batch:
    return replace(
        batch,
        frames_N3HW=batch.frames_N3HW[i : i + 1],
        heads_N1hw=batch.heads_N1hw[i : i + 1],
        density_N1hw=batch.density_N1hw[i : i + 1],
        labelled_N=batch.labelled_N[i : i + 1],
    )


def test_every_crop_counts_also_one_without_labels() -> None:
    """The published code builds its matrices from the first crop of a batch alone."""
    lesson, batch = Lesson(), _batch(2)
    before = lesson.terms(batch)
    batch.frames_N3HW[1] = torch.randn(3, 64, 64)
    after = lesson.terms(batch)
    assert after["cells"].item() == pytest.approx(before["cells"].item())
    for name in ("soft", "intra", "inter"):
        assert after[name].item() != pytest.approx(before[name].item(), rel=1e-5)


def test_lessons_of_other_crops_are_another_loss() -> None:
    lesson, batch = Lesson(), _batch(2)
    look = lesson.teacher.look(batch.frames_N3HW)
    swapped = Look(look.density_N1hw.flip(0), {k: v.flip(0) for k, v in look.hints.items()})
    right, wrong = (
        lesson.method.terms(batch, student=lesson.student, lessons={"teacher": one}, done=0.5)
        for one in (look, swapped)
    )
    for name in ("soft", "intra", "inter"):
        assert right[name].item() != pytest.approx(wrong[name].item(), rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_student_that_sees_what_its_teacher_sees_has_nothing_to_learn(reduction: str) -> None:
    lesson = Lesson(reduction=reduction)
    _wake(lesson.teacher)
    lesson.student = deepcopy(lesson.teacher)
    lesson.method.meet(student=lesson.student, teachers={"teacher": lesson.teacher})
    for module in lesson.method.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
    terms = lesson.terms(_batch())
    assert terms["soft"].item() == terms["inter"].item() == 0
    assert terms["intra"].item() == pytest.approx(0, abs=1e-6 * POSITIONS)


@pytest.mark.parametrize(("reduction", "counted"), [("sum", POSITIONS), ("mean", 8 * 8)])
def test_intra_counts_positions_in_the_sum_and_cells_in_the_mean(
    reduction: str, counted: int
) -> None:
    """A student without any active channel is wrong by one everywhere."""
    lesson = Lesson(reduction=reduction)
    for module in lesson.method.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    terms = lesson.terms(_batch())
    assert terms["intra"].item() == pytest.approx(0.5 * counted)
    torch.stack(list(terms.values())).sum().backward()
    learning = [*lesson.student.parameters(), *lesson.method.parameters()]
    assert all(p.grad.isfinite().all() for p in learning if p.grad is not None)


def test_inter_counts_entries_in_the_sum_and_cells_in_the_mean() -> None:
    batch, lesson = _batch(1), Lesson(layers=BACK)
    with torch.no_grad():
        ours, theirs = (net.look(batch.frames_N3HW) for net in (lesson.student, lesson.teacher))
        projected = [lesson.method.get_submodule(f"transforms.{k}")(ours.hints[k]) for k in BACK]
        gaps = relation_gaps(
            student=[*projected, ours.density_N1hw],
            teacher=[*(theirs.hints[k] for k in BACK), theirs.density_N1hw],
        )
        assert [tuple(gap.shape) for gap in gaps] == [(1, 64, 32), (1, 64, 1), (1, 32, 1)]
        got = lesson.terms(batch)["inter"].item()
        assert got == pytest.approx(0.5 * sum(gap.sum().item() for gap in gaps), rel=1e-4)
        got = Lesson(layers=BACK, reduction="mean").terms(batch)["inter"].item()
        assert got == pytest.approx(0.5 * 64 * sum(g.mean().item() for g in gaps) / 3, rel=1e-4)


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ({"intra": 0, "inter": 0}, {"cells", "soft"}),
        ({"inter": 0}, {"cells", "soft", "intra"}),
        ({"intra": 0}, {"cells", "soft", "inter"}),
        ({"soft": 0}, {"cells", "intra", "inter"}),
        ({"loss": "chi"}, {"cells", "counts", "soft", "intra", "inter"}),
    ],
)
def test_a_term_of_no_weight_is_left_out(off: Mapping[str, Any], left: set[str]) -> None:
    assert set(Lesson(**off).terms(_batch())) == left


def test_without_hints_skt_learns_from_a_bank_and_with_them_it_refuses() -> None:
    student, batch = NETS["csrnet"](ratio=16), _batch()
    plain = Skt(intra=0, inter=0)
    plain.meet(student=student, teachers={})
    assert not list(plain.parameters())
    lessons = {"teacher": Look(torch.rand(2, 1, 8, 8).half(), {})}
    terms = plain.terms(batch, student=student, lessons=lessons, done=0.5)
    assert terms["soft"].dtype == torch.float32
    with pytest.raises(ConfigError, match="a bank holds none"):
        Skt(intra=0).meet(student=student, teachers={})


def test_the_transforms_are_no_part_of_the_student() -> None:
    with torch.device("meta"):
        student, teacher = NETS["csrnet"](ratio=4), NETS["csrnet"]()
    before = list(student.state_dict())
    method = Skt()
    method.meet(student=student, teachers={"teacher": teacher})
    assert parameters_of(method) == 105_728
    assert parameters_of(student) == 1_017_681
    assert list(student.state_dict()) == before
    for transform in method.transforms.children():
        features = transform(torch.randn(1, next(transform.parameters()).shape[1], 8, 8))
        assert features.min().item() == 0  # as the teacher's are, after a ReLU


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_terms_under_autocast_are_near_those_in_full_precision(reduction: str) -> None:
    lesson, batch = Lesson(reduction=reduction), _batch()
    for net in (lesson.student, lesson.teacher, lesson.method):
        _wake(net, 0.1)
    plain = lesson.terms(batch)
    with torch.autocast("cpu", torch.bfloat16):
        cast = lesson.terms(batch)
    for name, term in cast.items():
        assert term.dtype == torch.float32
        assert term.item() == pytest.approx(plain[name].item(), rel=0.1)
    torch.stack(list(cast.values())).sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all()
        for parameter in lesson.student.parameters()
    )


def test_layers_of_other_names_and_widths_can_be_paired() -> None:
    lesson = Lesson(layers={"back1": "back4", "pool3": "pool3"})
    terms = lesson.terms(_batch())
    assert terms["intra"].isfinite()
    assert parameters_of(lesson.method) == (32 * 32 + 32) + (16 * 32 + 32)


def test_a_layer_that_a_net_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"no hint moon, sun: the student has conv1_1, .*back6;"):
        Lesson(layers={"moon": "back1", "back4": "sun"})


def test_layers_of_two_sizes_relate_but_have_no_common_pattern() -> None:
    layers = {"pool2": "pool3", "back1": "back1"}
    assert Lesson(layers=layers, intra=0).terms(_batch())["inter"].isfinite()
    with pytest.raises(ConfigError, match=r"not of \(16, 16\) and \(8, 8\)"):
        Lesson(layers=layers).terms(_batch())


def test_a_reduction_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="no reduction 'avg': choose sum or mean"):
        Skt(reduction="avg")  # type: ignore[arg-type]  # what the test is about
