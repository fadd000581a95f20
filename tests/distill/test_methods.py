"""What every method keeps, with a narrow student and teachers a little wider."""

from collections.abc import Iterator

import pytest
import torch

from distill.batch import Batch, Lessons
from distill.methods import METHODS, Method
from models.nets import NETS, CountingNet


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Class:
    """A method with its student, its teachers, and a batch of one labelled crop and one without."""

    def __init__(self, name: str, *, heads: float = 0.3, labelled: bool = True) -> None:
        torch.manual_seed(0)
        net = "reviewed" if name in ("review", "reviewkd") else "csrnet"
        self.student = NETS[net](ratio=16).train()
        self.method: Method = METHODS[name]()
        self.teachers = {role: NETS["csrnet"](ratio=8).eval() for role in self.method.roles}
        self.method.meet(student=self.student, teachers=self.teachers)
        cells = torch.full((2, 1, 8, 8), heads)
        points = [torch.rand(int(64 * heads), 2) * 64 for _ in cells]
        labels = torch.tensor([labelled, False])
        self.batch = Batch(torch.randn(2, 3, 64, 64), cells, cells, points, labels)

    @property
    def lessons(self) -> Lessons:
        with torch.no_grad():
            return {role: net.look(self.batch.frames_N3HW) for role, net in self.teachers.items()}

    def terms(self, batch: Batch | None = None) -> dict[str, torch.Tensor]:
        return self.method.terms(
            batch or self.batch, student=self.student, lessons=self.lessons, done=0.5
        )

    def learning(self) -> list[torch.nn.Parameter]:
        return [*self.student.parameters(), *self.method.parameters()]


def moved(net: CountingNet, before: dict[str, torch.Tensor]) -> set[str]:
    return {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("name", METHODS.names())
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("heads", [0.0, 0.1, 50.0])
def test_the_losses_of_a_method_are_named_finite_scalars(
    name: str, heads: float, labelled: bool
) -> None:
    terms = Class(name, heads=heads, labelled=labelled).terms()
    assert terms
    for term in terms.values():
        assert term.shape == ()
        assert term.isfinite()


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_moves_every_layer_of_the_student_and_none_of_a_teacher(name: str) -> None:
    lesson = Class(name, heads=2.0)
    nets = {"student": lesson.student, **lesson.teachers}
    before = {
        role: {k: v.clone() for k, v in net.state_dict().items()} for role, net in nets.items()
    }
    torch.stack(list(lesson.terms().values())).sum().backward()
    torch.optim.SGD(lesson.learning(), lr=1e-3).step()
    assert moved(lesson.student, before["student"]) == set(before["student"])
    for role, teacher in lesson.teachers.items():
        assert not moved(teacher, before[role])
        assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_lowers_its_own_loss(name: str) -> None:
    lesson = Class(name)
    optimiser = torch.optim.Adam(lesson.learning(), lr=1e-3)
    losses = []
    for _ in range(10):
        loss = torch.stack(list(lesson.terms().values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", METHODS.names())
def test_heads_of_a_crop_without_labels_are_not_looked_at(name: str) -> None:
    lesson = Class(name)
    one = lesson.terms()
    heads = lesson.batch.heads_N1hw.clone()
    heads[1] = 100.0
    points = [lesson.batch.points[0], torch.rand(500, 2) * 64]
    batch = Batch(lesson.batch.frames_N3HW, heads, heads, points, lesson.batch.labelled_N)
    other = lesson.terms(batch)
    assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in other.items()}
