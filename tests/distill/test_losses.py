"""What every loss keeps, whatever it is made of; and the likelihood of empty cells."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from distill.batch import Batch
from distill.losses import LOSSES, Loss
from distill.losses._blocks import centres, deviance, in_blocks
from models.density import splat, spread
from models.errors import ConfigError
from models.nets import Look

SIDE, STRIDE = 64, 8
CELLS = (SIDE // STRIDE, SIDE // STRIDE)
MEAN_SEEKING = ("chi", "poisson", "zip")  # the others say of themselves that they seek the median


def batch_of(points: Sequence[Tensor]) -> Batch:
    heads = [splat(p.numpy(), shape_hw=CELLS, stride=STRIDE) for p in points]
    density = [spread(p.numpy(), shape_hw=CELLS, stride=STRIDE) for p in points]
    return Batch(
        frames_N3HW=torch.zeros(len(points), 3, SIDE, SIDE),
        heads_N1hw=torch.stack([torch.from_numpy(h) for h in heads])[:, None],
        density_N1hw=torch.stack([torch.from_numpy(d) for d in density])[:, None],
        points=points,
        labelled_N=torch.ones(len(points), dtype=torch.bool),
    )


def crowd(*counts: int, seed: int = 0) -> Batch:
    """Crops of so many heads, in the middle, where no head is near a border."""
    chance = torch.Generator().manual_seed(seed)
    return batch_of([12 + 40 * torch.rand(count, 2, generator=chance) for count in counts])


def seen(density_N1hw: Tensor) -> Look:
    """As from a net with 64 features before its map."""
    features = torch.zeros(len(density_N1hw), 64, *density_N1hw.shape[2:])
    return Look(density_N1hw, {"neck": features})


def total(loss: Loss, density_N1hw: Tensor, batch: Batch) -> Tensor:
    return torch.stack(list(loss(seen(density_N1hw), batch).values())).sum(dim=0)


def made(name: str) -> Loss:
    torch.manual_seed(0)
    return LOSSES[name]()


@pytest.mark.parametrize("name", LOSSES.names())
@pytest.mark.parametrize("predicted", [-0.2, 0.0, 0.05, 30.0])
def test_a_loss_is_one_finite_number_a_crop_for_no_few_and_many_heads(
    name: str, predicted: float
) -> None:
    batch = crowd(0, 1, 5, 2000)
    density = torch.full((4, 1, *CELLS), predicted, requires_grad=True)
    losses = made(name)(seen(density), batch)
    for loss_N in losses.values():
        assert loss_N.shape == (4,)
        assert loss_N.dtype == torch.float32
        assert loss_N.isfinite().all()
    torch.stack(list(losses.values())).sum().backward()
    assert density.grad is not None
    assert density.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES.names())
@pytest.mark.parametrize(("scale", "way"), [(0.25, -1), (4.0, 1)])
def test_a_total_that_is_too_low_is_pulled_up_and_one_too_high_down(
    name: str, scale: float, way: int
) -> None:
    batch = crowd(3, 40)
    factor = torch.tensor(scale, requires_grad=True)
    total(made(name), batch.density_N1hw * factor, batch).sum().backward()
    assert factor.grad is not None
    assert factor.grad * way > 0


@pytest.mark.parametrize("name", LOSSES.names())
def test_phantom_people_are_pulled_down_in_every_cell_of_an_empty_crop(name: str) -> None:
    density = torch.full((1, 1, *CELLS), 0.1, requires_grad=True)
    total(made(name), density, crowd(0)).sum().backward()
    assert density.grad is not None
    assert (density.grad > 0).all()


@pytest.mark.parametrize("name", LOSSES.names())
def test_the_true_map_costs_less_than_an_empty_a_doubled_or_a_moved_one(name: str) -> None:
    batch = crowd(10)
    loss, true = made(name), batch.heads_N1hw
    best = total(loss, true, batch)
    for other in (true * 0, true * 2, true.roll(3, dims=-1)):
        assert total(loss, other, batch) > best


@pytest.mark.parametrize("name", LOSSES.names())
def test_the_loss_of_a_crop_does_not_depend_on_its_neighbours(name: str) -> None:
    chance = torch.Generator().manual_seed(1)
    density = torch.rand(2, 1, *CELLS, generator=chance)
    loss, both, alone = made(name), crowd(7, 300), crowd(7)
    assert torch.equal(both.heads_N1hw[:1], alone.heads_N1hw)
    together = total(loss, density, both)
    assert together[0].item() == pytest.approx(total(loss, density[:1], alone).item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES.names())
def test_autocast_does_not_round_a_loss(name: str) -> None:
    batch = crowd(0, 50)
    density = torch.rand(2, 1, *CELLS, generator=torch.Generator().manual_seed(2))
    exact = total(made(name), density, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(total(made(name), density, batch), exact)


@pytest.mark.parametrize("name", MEAN_SEEKING)
@pytest.mark.parametrize("counts", [(0, 10), (0, 0, 0, 10)])
def test_of_uncertain_counts_the_mean_is_sought_and_not_the_median(
    name: str, counts: tuple[int, ...]
) -> None:
    loss, batch = made(name), crowd(*counts)
    mean = sum(counts) / len(counts)
    for level, way in ((0.9 * mean, -1), (1.1 * mean, 1)):
        people = torch.tensor(level, requires_grad=True)
        density = (people / math.prod(CELLS)).expand(len(counts), 1, *CELLS)
        if isinstance(loss, nn.Module):
            _settle(loss, density.detach(), batch)
        total(loss, density, batch).sum().backward()
        assert people.grad is not None
        assert people.grad * way > 0


def _settle(loss: nn.Module, density: Tensor, batch: Batch) -> None:
    """What a loss learns by itself is at its best."""
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.3)
    for _ in range(60):
        optimiser.zero_grad()
        torch.stack(list(loss(seen(density), batch).values())).sum().backward()
        optimiser.step()


def test_an_absolute_error_would_fail_the_test_of_the_mean() -> None:
    """At 2.25 people it pulls down, to the median of 0, 0, 0 and 10."""
    level = torch.tensor(2.25, requires_grad=True)
    (level - torch.tensor([0.0, 0, 0, 10])).abs().sum().backward()
    assert level.grad is not None
    assert level.grad > 0


def test_blocks_are_counts_and_end_with_the_whole() -> None:
    density = torch.arange(36.0).view(1, 1, 6, 6)
    two, four, whole = in_blocks(density, (2, 4, 8))
    assert two.shape == (1, 1, 3, 3)
    assert two[0, 0, 0, 0] == 0 + 1 + 6 + 7
    assert four.flatten().tolist() == [density[..., :4, :4].sum()]
    assert whole.flatten().tolist() == [density.sum()]


def test_centres_lie_in_the_middle_of_their_cells_row_by_row() -> None:
    frames = torch.zeros(1, 3, 16, 24)
    batch = Batch(frames, frames, frames, [], torch.ones(1))
    expected = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert centres((2, 3), batch).tolist() == expected


def test_the_deviance_is_the_likelihood_less_the_best_there_is() -> None:
    predicted, true = torch.tensor([2.0, 0.5]), torch.tensor([3.0, 0.0])
    wanted = [2 - 3 - 3 * math.log(2 / 3), 0.5]
    got = deviance(predicted=predicted, true=true, background=1e-7)
    assert got.tolist() == pytest.approx(wanted, abs=1e-4)
    assert deviance(predicted=true, true=true, background=0.1).tolist() == [0, 0]


def test_below_zero_the_deviance_goes_on_smoothly_and_pulls_up() -> None:
    predicted = torch.tensor([-1e-4, 1e-4, -0.5], requires_grad=True)
    deviance(predicted=predicted, true=torch.zeros(3), background=0.1).sum().backward()
    assert predicted.grad is not None
    below, above, far = predicted.grad.tolist()
    assert below == pytest.approx(above, abs=0.01)
    assert far < below < 0.01


def test_the_zero_inflated_likelihood_is_that_of_the_formula() -> None:
    """That of EBC-ZIP, less what does not depend on the prediction."""
    loss = LOSSES["zip"](sizes=(), background=1e-7)
    assert isinstance(loss, nn.Module)
    odds = math.log(0.4 / 0.6)
    with torch.no_grad():
        loss.get_parameter("empty.bias").fill_(8 * math.atanh(odds / 8))
    heads = torch.zeros(1, 1, *CELLS)
    heads[..., 0, 0] = 3
    density = torch.full_like(heads, 0.6 * 0.5)  # lambda = 0.5
    batch = Batch(torch.zeros(1, 3, SIDE, SIDE), heads, heads, [], torch.ones(1))
    empty = -math.log(0.4 + 0.6 * math.exp(-0.5))
    taken = -math.log(0.6) - (3 * math.log(0.5) - 0.5) + (3 * math.log(3) - 3)
    got = loss(seen(density), batch)["cells"].item()
    assert got == pytest.approx(63 * empty + taken, rel=1e-4)


@pytest.mark.parametrize(("cells", "way"), [(2, 1), (64, -1)])
def test_more_empty_cells_than_chance_leaves_are_learned_as_such(cells: int, way: int) -> None:
    """The same 64 heads in two cells, or one in each."""
    loss = made("zip")
    assert isinstance(loss, nn.Module)
    heads = torch.zeros(1, 1, *CELLS)
    heads.view(-1)[:cells] = 64 / cells
    batch = Batch(torch.zeros(1, 3, SIDE, SIDE), heads, heads, [], torch.ones(1))
    _settle(loss, torch.ones(1, 1, *CELLS), batch)
    assert loss.get_parameter("empty.bias").item() * way > 1


@pytest.mark.parametrize("hints", [{}, {"neck": torch.zeros(1, 32, *CELLS)}])
def test_features_that_the_zero_inflated_loss_cannot_read_are_refused(
    hints: dict[str, Tensor],
) -> None:
    with pytest.raises(ConfigError, match=r"zip wants features of \(64, 8, 8\)"):
        made("zip")(Look(torch.zeros(1, 1, *CELLS), hints), crowd(0))
