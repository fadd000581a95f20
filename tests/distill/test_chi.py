import pytest
import torch

from distill.losses.chi import pooled_chi, squared


def test_the_squared_error_is_summed_over_the_cells_of_each_crop() -> None:
    predicted, target = torch.zeros(2, 1, 3, 4), torch.ones(2, 1, 3, 4)
    target[1] = 2
    assert squared(predicted=predicted, target=target).tolist() == [12, 48]


def test_chi_is_zero_where_every_count_is_right() -> None:
    heads = torch.randint(0, 3, (2, 1, 32, 32)).float()
    assert pooled_chi(predicted=heads, heads=heads).tolist() == [0, 0]


def test_chi_divides_the_squared_error_by_the_predicted_count_and_one() -> None:
    predicted, heads = torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1), 5.0)
    assert pooled_chi(predicted=predicted, heads=heads).item() == pytest.approx(4 / (3 + 1))


def test_chi_does_not_see_where_in_a_block_a_head_stands() -> None:
    predicted, heads = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    predicted[..., 0, 0] = heads[..., 1, 1] = 1
    assert pooled_chi(predicted=predicted, heads=heads, sizes=(2, 4)).item() == 0
    heads = heads.roll(2, dims=-1)
    assert pooled_chi(predicted=predicted, heads=heads, sizes=(2, 4)).item() > 0


def test_the_gradient_of_chi_seeks_the_mean_of_uncertain_counts() -> None:
    """At the mean of 0 and 10 heads a count is pulled up as hard as down: the median would win
    with an absolute error, the low one with the true count as variance."""
    predicted = torch.full((2, 1, 1, 1), 5.0, requires_grad=True)
    heads = torch.tensor([0.0, 10.0]).view(2, 1, 1, 1)
    pooled_chi(predicted=predicted, heads=heads).sum().backward()
    assert predicted.grad is not None
    down, up = predicted.grad.flatten().tolist()
    assert down == -up
    assert down > 0


def test_beyond_ten_deviations_the_gradient_of_chi_stays_as_long_as_it_is() -> None:
    predicted = torch.zeros(2, 1, 1, 1, requires_grad=True)
    heads = torch.tensor([20.0, 2000.0]).view(2, 1, 1, 1)
    pooled_chi(predicted=predicted, heads=heads).sum().backward()
    assert predicted.grad is not None
    near, far = predicted.grad.flatten().tolist()
    assert near == far < 0


@pytest.mark.parametrize("side", [1, 3, 8, 32])
def test_blocks_larger_than_the_map_are_left_out(side: int) -> None:
    heads = torch.ones(1, 1, side, side)
    assert pooled_chi(predicted=heads * 2, heads=heads).isfinite()
