import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from distill.batch import Batch
from distill.losses.dmcount import DmCount, potentials
from models.nets import Look

SIDE = 16  # cells


def _batch(heads_hw: Tensor) -> Batch:
    heads = heads_hw[None, None]
    frames = torch.zeros(1, 3, heads_hw.shape[0] * 8, heads_hw.shape[1] * 8)
    return Batch(frames, heads, heads, [], torch.ones(1))


def _people(*cells: tuple[int, int]) -> Tensor:
    map_hw = torch.zeros(SIDE, SIDE)
    for y, x in cells:
        map_hw[y, x] += 1
    return map_hw


def _cost(predicted_hw: Tensor, heads_hw: Tensor) -> dict[str, float]:
    losses = DmCount()(Look(predicted_hw[None, None], {}), _batch(heads_hw))
    return {name: loss.item() for name, loss in losses.items()}


def _random(seed: int, people: int) -> Tensor:
    rng = np.random.default_rng(seed)
    cells = rng.choice(SIDE * SIDE, people, replace=False)
    return _people(*((int(cell) // SIDE, int(cell) % SIDE) for cell in cells))


def test_one_person_three_cells_away_walks_24_px() -> None:
    cost = _cost(_people((2, 2)), _people((2, 5)))
    assert cost["transport"] == pytest.approx(0.1 * 24**2, rel=0.01)
    assert cost["count"] == pytest.approx(0, abs=1e-5)
    assert cost["variation"] == pytest.approx(0.01 * 1 * 1, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_transport_is_that_of_the_best_assignment(seed: int) -> None:
    """Between as many heads as people, transport pairs them off."""
    predicted, heads = _random(seed, 12), _random(seed + 50, 12)
    apart = predicted.nonzero()[:, None] - heads.nonzero()[None]
    squared = (8.0 * apart).square().sum(dim=-1).numpy()
    wanted = squared[linear_sum_assignment(squared)].mean()
    assert _cost(predicted, heads)["transport"] == pytest.approx(0.1 * wanted, rel=0.05)


def test_the_plan_of_the_potentials_brings_everybody_where_they_should_be() -> None:
    start = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    start, end = start / start.sum(), _random(1, 20) / 20
    here, there = potentials(start, end, stride=8.0, blur=10.0)
    at = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE)) * 8.0
    squared = (at[:, None] - at[None]).square().sum(dim=-1)
    gain = (here.flatten()[:, None] + there.flatten()[None] - squared) / 10.0
    plan = start.flatten()[:, None] * end.flatten()[None] * gain.exp()
    assert torch.allclose(plan.sum(dim=0), end.flatten(), atol=1e-4)
    assert (plan.sum(dim=1) - start.flatten()).abs().sum() < 0.05


def test_people_are_drawn_to_the_heads() -> None:
    """Mass far from all heads is pushed down harder than mass beside them."""
    predicted = torch.full((SIDE, SIDE), 4 / SIDE**2, requires_grad=True)
    heads = _people((3, 3), (3, 4), (4, 3), (4, 4))
    look = Look(predicted[None, None], {})
    DmCount()(look, _batch(heads))["transport"].sum().backward()
    assert predicted.grad is not None
    assert predicted.grad[3, 3] < 0 < predicted.grad[15, 15]
    assert predicted.grad[3, 3] < predicted.grad[8, 8] < predicted.grad[15, 15]


def test_transport_and_variation_do_not_see_the_count() -> None:
    heads = _random(2, 10)
    once, thrice = _cost(_random(3, 10), heads), _cost(3 * _random(3, 10), heads)
    assert thrice["transport"] == pytest.approx(once["transport"], rel=1e-3)
    assert thrice["variation"] == pytest.approx(once["variation"], rel=1e-3)
    assert thrice["count"] == pytest.approx(20)


def test_a_crop_without_heads_has_only_a_count_to_learn() -> None:
    cost = _cost(_people((1, 1), (9, 9)), torch.zeros(SIDE, SIDE))
    assert cost == {"count": 2, "transport": 0, "variation": 0}


def test_where_nothing_is_predicted_transport_still_says_where_people_are() -> None:
    predicted = torch.zeros(SIDE, SIDE, requires_grad=True)
    losses = DmCount()(Look(predicted[None, None], {}), _batch(_people((3, 3))))
    torch.stack(list(losses.values())).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert predicted.grad.argmin().item() == 3 * SIDE + 3


def test_a_map_that_is_no_square_is_transported_along_its_own_sides() -> None:
    predicted, heads = torch.zeros(4, 12), torch.zeros(4, 12)
    predicted[3, 1] = heads[3, 11] = 1
    losses = DmCount()(Look(predicted[None, None], {}), _batch(heads))
    assert losses["transport"].item() == pytest.approx(0.1 * 80**2, rel=0.01)
