import math

import pytest
import torch

from distill.batch import Batch
from distill.losses.bayesian import Bayesian, posterior
from models.nets import Look

CENTRES = torch.tensor([[4.0, 4], [12, 4], [4, 12], [12, 12]])


def _batch(points_P2: torch.Tensor, side: int = 64) -> Batch:
    cells = torch.zeros(1, 1, side // 8, side // 8)
    return Batch(torch.zeros(1, 3, side, side), cells, cells, [points_P2], torch.ones(1))


def test_the_posterior_is_that_of_the_formula() -> None:
    """Softmax over heads and background of -d^2 / 2 sigma^2, written out cell by cell."""
    points = torch.tensor([[3.0, 5.0], [14.0, 9.0]])
    got = posterior(points, CENTRES, sigma_px=8.0, far_px=20.0)
    for m, (x, y) in enumerate(CENTRES.tolist()):
        squared = [(x - px) ** 2 + (y - py) ** 2 for px, py in points.tolist()]
        squared.append(20.0**2 / min(squared))
        weights = [math.exp(-d / (2 * 8.0**2)) for d in squared]
        wanted = [weight / sum(weights) for weight in weights]
        assert got[:, m].tolist() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("heads", [0, 1, 50])
def test_every_cell_belongs_to_somebody_once(heads: int) -> None:
    points = torch.rand(heads, 2, generator=torch.Generator().manual_seed(0)) * 16
    shares = posterior(points, CENTRES, sigma_px=8.0, far_px=4.0)
    assert shares.shape == (heads + 1, 4)
    assert shares.sum(dim=0).tolist() == pytest.approx([1] * 4)


def test_a_head_in_the_middle_of_a_cell_owns_it_alone() -> None:
    shares = posterior(CENTRES[:1], CENTRES, sigma_px=8.0, far_px=64.0)
    assert shares[:, 0].tolist() == pytest.approx([1, 0], abs=1e-6)


def test_a_lone_head_and_the_background_share_a_cell_8_px_away() -> None:
    shares = posterior(CENTRES[:1], CENTRES, sigma_px=8.0, far_px=0.25 * 256)
    assert shares[:, 1].tolist() == pytest.approx([0.5, 0.5])


def test_a_crop_without_heads_costs_all_it_is_said_to_hold() -> None:
    look = Look(torch.full((1, 1, 8, 8), 0.25), {})
    assert Bayesian()(look, _batch(torch.zeros(0, 2)))["bayesian"].tolist() == [16]


def test_a_person_in_the_cell_of_each_head_costs_nothing() -> None:
    density = torch.zeros(1, 1, 8, 8)
    density[0, 0, 1, 2] = density[0, 0, 6, 5] = 1
    heads = torch.tensor([[20.0, 12.0], [44.0, 52.0]])
    assert Bayesian()(Look(density, {}), _batch(heads))["bayesian"].item() < 0.01


def test_two_people_for_one_head_cost_one() -> None:
    density = torch.zeros(1, 1, 8, 8)
    density[0, 0, 1, 2] = 2
    look = Look(density, {})
    (cost,) = Bayesian()(look, _batch(torch.tensor([[20.0, 12.0]])))["bayesian"].tolist()
    assert cost == pytest.approx(1, abs=0.01)
