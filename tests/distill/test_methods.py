import pytest
import torch

from distill.methods import METHODS, Batch
from models.nets import NETS, CountingNet


def _student() -> CountingNet:
    torch.manual_seed(0)
    return NETS["throng-s"](width=64, depth=1).train()


def _batch(heads: float) -> Batch:
    torch.manual_seed(1)
    cells = torch.full((2, 1, 8, 8), heads)
    return Batch(torch.randn(2, 3, 64, 64), heads_N1hw=cells, density_N1hw=cells)


@pytest.mark.parametrize("name", METHODS.names())
@pytest.mark.parametrize("heads", [0.0, 0.1, 50.0])
def test_the_losses_of_a_method_are_named_finite_scalars(name: str, heads: float) -> None:
    terms = METHODS[name]().terms(_batch(heads), student=_student(), teachers={})
    assert terms
    for term in terms.values():
        assert term.shape == ()
        assert term.isfinite()


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_moves_every_layer_of_the_student(name: str) -> None:
    student = _student()
    before = {key: value.clone() for key, value in student.named_parameters()}
    terms = METHODS[name]().terms(_batch(2.0), student=student, teachers={})
    torch.stack(list(terms.values())).sum().backward()
    torch.optim.SGD(student.parameters(), lr=1e-3).step()
    stuck = [key for key, value in student.named_parameters() if torch.equal(value, before[key])]
    assert not stuck


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_lowers_its_own_loss(name: str) -> None:
    student, batch, method = _student(), _batch(0.3), METHODS[name]()
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        loss = torch.stack(list(method.terms(batch, student=student, teachers={}).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
