from pathlib import Path

import pytest
import torch
from torch import nn

from distill.batch import Batch, Lessons
from distill.estimates import over_estimates
from distill.lineage import copy_weights
from distill.losses import LOSSES
from distill.methods import METHODS, Method
from distill.methods.reviewkd import ReviewKd, apart, channelwise
from models.checkpoint import save_checkpoint
from models.errors import ConfigError
from models.nets import NETS, CountingNet, Look, latent_of, parameters_of


class Class:
    """A method with a student, a wider teacher, and two crops."""

    def __init__(self, method: Method, student: CountingNet) -> None:
        self.method, self.student = method, student
        self.teacher = NETS["csrnet"](ratio=8).eval()
        self.method.meet(student=student, teachers={"teacher": self.teacher})
        frames, cells = torch.randn(2, 3, 64, 64), torch.full((2, 1, 8, 8), 0.3)
        points = [torch.rand(19, 2) * 64 for _ in cells]
        self.batch = Batch(frames, cells, cells, points, torch.tensor([True, False]))

    @property
    def lessons(self) -> Lessons:
        with torch.no_grad():
            return {"teacher": self.teacher.look(self.batch.frames_N3HW)}

    def terms(self, *, done: float = 0.5) -> dict[str, torch.Tensor]:
        return self.method.terms(self.batch, student=self.student, lessons=self.lessons, done=done)


def _reviewed(passes: int = 1) -> CountingNet:
    torch.manual_seed(0)
    return NETS["reviewed"](net="csrnet", passes=passes, ratio=16)


def test_a_review_adds_no_parameter_and_no_byte() -> None:
    plain = NETS["csrnet"](ratio=16)
    sizes = []
    for passes in (0, 1, 2):
        net = _reviewed(passes)
        assert parameters_of(net) == parameters_of(plain)
        sizes.append(sum(value.nbytes for value in net.state_dict().values()))
    assert set(sizes) == {sum(value.nbytes for value in plain.state_dict().values())}


def test_the_projector_is_no_part_of_the_student() -> None:
    student = _reviewed()
    before = set(student.state_dict())
    lesson = Class(ReviewKd(), student)
    assert set(student.state_dict()) == before
    assert {name: tuple(p.shape) for name, p in lesson.method.named_parameters()} == {
        "projector.weight": (64, 32, 1, 1), "projector.bias": (64,),
    }  # fmt: skip


def test_every_estimate_is_taught_and_the_last_one_most() -> None:
    torch.manual_seed(0)
    lesson = Class(METHODS["review"](), _reviewed(passes=2))
    look = Look(torch.rand(2, 1, 8, 8), {})
    terms = over_estimates(LOSSES["chi"](), [look, look, look], lesson.batch)
    assert set(terms) == {f"{name}_{k}" for name in ("cells", "counts") for k in (0, 1, 2)}
    shares = [(terms[f"cells_{k}"] / terms["cells_2"]).item() for k in (0, 1, 2)]
    assert shares == pytest.approx([0.5, 0.75, 1])


def test_a_single_estimate_has_full_weight() -> None:
    lesson = Class(METHODS["review"](), _reviewed(passes=0))
    look = lesson.student.look(lesson.batch.frames_N3HW)
    chi = LOSSES["chi"]()(look, lesson.batch)
    terms = lesson.terms()
    assert set(terms) == {"cells_0", "counts_0"}
    assert terms["cells_0"].item() == pytest.approx(chi["cells"][0].item())


def test_the_instruction_fades_to_nothing_at_the_end() -> None:
    lesson = Class(ReviewKd(channels=1.0), _reviewed())
    said = [lesson.terms(done=done) for done in (0.0, 0.7, 0.85, 1.0)]
    for name in ("instruction", "channels"):
        full, still, half, none = (terms[name].item() for terms in said)
        assert full == still > 0
        assert half == pytest.approx(full / 2)
        assert none == 0
    assert said[0]["cells_1"] == said[3]["cells_1"]


def test_an_instruction_alone_teaches_the_encoder_of_any_net_and_looks_at_no_label() -> None:
    lesson = Class(ReviewKd(review=0), NETS["csrnet"](ratio=16))
    terms = lesson.terms(done=1.0)
    assert set(terms) == {"instruction"}
    assert terms["instruction"] > 0
    terms["instruction"].backward()
    taught = {name for name, p in lesson.student.named_parameters() if p.grad is not None}
    assert {name.split(".")[1] for name in taught} == {
        "conv1_1", "pool1", "pool2", "pool3", "front",
    }  # fmt: skip


def test_an_instructed_net_starts_a_reviewed_one(tmp_path: Path) -> None:
    small = {"ratio": 16}
    instructed, path = NETS["csrnet"](**small), tmp_path / "last.safetensors"
    save_checkpoint(path, instructed, name="csrnet", arguments=small, facts={})
    student = _reviewed()
    copy_weights([tmp_path], student)
    frames = torch.randn(1, 3, 64, 64)
    learned, taught = (latent_of(net.encode(frames)) for net in (student, instructed))
    assert torch.equal(learned, taught)


def test_a_student_that_estimates_once_is_told_what_to_do() -> None:
    for method in (ReviewKd(), METHODS["review"]()):
        with pytest.raises(ConfigError, match="CsrNet does once: set net='reviewed'"):
            Class(method, NETS["csrnet"](ratio=16))


def test_a_latent_that_is_not_there_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"CsrNet has no 'moon'; it has conv1_1, .*front"):
        Class(ReviewKd(teacher_latent="moon"), _reviewed())
    with pytest.raises(ConfigError, match="encoder of Reviewed has no 'back1'"):
        Class(ReviewKd(student_latent="back1"), _reviewed())


def test_a_bank_has_no_latent_and_no_instruction_needs_no_teacher() -> None:
    with pytest.raises(ConfigError, match="a bank holds none"):
        ReviewKd().meet(student=_reviewed(), teachers={})
    with pytest.raises(ConfigError, match="use method='review'"):
        ReviewKd(instruct=0)


def test_latents_of_other_sizes_meet_on_the_coarser_grid() -> None:
    student = NETS["throng-m"](width=16)
    lesson = Class(ReviewKd(review=0, student_latent="around"), student)
    assert lesson.terms()["instruction"].isfinite()
    fine = Class(ReviewKd(review=0, student_latent="layer1"), student)
    assert fine.terms()["instruction"].isfinite()


def test_the_instruction_sees_directions_not_lengths() -> None:
    taught = torch.rand(2, 8, 4, 4) + 0.1
    assert apart(taught * 7, taught) < 1e-5
    assert apart(-taught, taught).item() == pytest.approx(4)
    unit = nn.functional.normalize(torch.randn(2, 8, 4, 4), dim=1)
    squared = (unit - nn.functional.normalize(taught, dim=1)).square().sum(dim=1).mean()
    assert apart(unit, taught).item() == pytest.approx(squared.item(), rel=1e-4)


def test_the_channels_see_where_a_channel_fires_not_how_much_all_over() -> None:
    taught = torch.rand(2, 8, 4, 4) * 5
    assert channelwise(taught + 3, taught) < 1e-6
    assert channelwise(taught.flip(2), taught) > 0.01
