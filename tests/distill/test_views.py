import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from distill.views import agreement, heard, looked_over, regrid
from models.nets import NETS, CountingNet, Look

sides = st.integers(1, 13)


def _net() -> CountingNet:
    torch.manual_seed(0)
    return NETS["csrnet"](ratio=16).eval()


def _map(*rows: list[float]) -> Tensor:
    return torch.tensor(rows)[None, None]


@given(h=sides, w=sides, to_h=sides, to_w=sides)
def test_another_grid_holds_the_same_people(h: int, w: int, to_h: int, to_w: int) -> None:
    density = torch.rand(2, 1, h, w, generator=torch.Generator().manual_seed(h * w))
    moved = regrid(density, (to_h, to_w))
    assert moved.shape == (2, 1, to_h, to_w)
    assert torch.allclose(moved.sum(dim=(1, 2, 3)), density.sum(dim=(1, 2, 3)), rtol=1e-5)


def test_cells_are_shared_by_area() -> None:
    assert regrid(_map([1, 2, 3]), (1, 2)).tolist() == [[[[2, 4]]]]
    assert regrid(_map([4, 8]), (1, 4)).tolist() == [[[[2, 2, 4, 4]]]]
    assert regrid(_map([1, 2], [3, 4]), (1, 1)).tolist() == [[[[10]]]]


def test_the_same_grid_changes_nothing() -> None:
    density = torch.rand(1, 1, 5, 7)
    assert torch.equal(regrid(density, (5, 7)), density)


def test_one_view_and_its_mirror_image_are_averaged() -> None:
    net, frames = _net(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = (net(frames) + net(frames.flip(3)).flip(3)) / 2
    assert torch.allclose(looked_over(net, frames, scales=(1.0,)), expected, atol=1e-6)


def test_the_mirror_image_of_a_frame_gives_the_mirror_image_of_its_map() -> None:
    net, frames = _net(), torch.randn(1, 3, 48, 80)
    seen, mirrored = looked_over(net, frames), looked_over(net, frames.flip(3))
    assert seen.shape == (1, 1, 6, 10)
    assert torch.allclose(mirrored, seen.flip(3), atol=1e-5)
    assert not torch.allclose(seen, seen.flip(3), atol=1e-3)


def test_people_of_an_enlarged_view_are_not_counted_twice() -> None:
    """A net that sees one person in every cell sees 2.25 as many in a view of 1.5."""
    net = _net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.get_parameter("out.bias").fill_(1.0)
    assert looked_over(net, torch.randn(1, 3, 64, 64)).sum().item() == pytest.approx(
        64 * (1 + 2.25) / 2
    )


def test_a_scaled_view_has_sides_that_the_net_takes() -> None:
    """throng-m wants multiples of 16: 48 px at 1.5 are 72, taken as 64 or 80."""
    net = NETS["throng-m"](width=16).eval()
    assert looked_over(net, torch.randn(1, 3, 48, 48)).shape == (1, 1, 6, 6)


def test_looking_over_leaves_no_gradient() -> None:
    assert not looked_over(_net(), torch.randn(1, 3, 64, 64)).requires_grad


def test_trust_is_whole_where_teachers_agree() -> None:
    same = torch.rand(2, 1, 7, 5)
    assert torch.equal(agreement([same, same.clone(), same.clone()]), torch.ones_like(same))


def test_trust_falls_where_one_sees_a_crowd_and_the_other_nobody() -> None:
    crowd, nobody = torch.full((1, 1, 4, 4), 100.0), torch.zeros(1, 1, 4, 4)
    crowd[..., 2:] = 0
    trust = agreement([crowd, nobody])
    assert trust[0, 0, 0].tolist() == pytest.approx([math.exp(-2)] * 2 + [1] * 2, rel=0.01)


def test_trust_is_that_of_the_formula_in_each_block() -> None:
    one, other = _map([1.0, 0, 2], [0, 1, 0]), _map([2.0, 1, 2], [0, 0, 1])
    left, right = math.exp(-1 / (2.5 + 0.1)), math.exp(-1 / (2.5 + 0.1))
    trust = agreement([one, other])
    assert trust.flatten().tolist() == pytest.approx([left, left, right] * 2)
    trust = agreement([one, other], block=1)
    assert trust[0, 0, 0].tolist() == pytest.approx(
        [math.exp(-1 / (1.5 + 0.1)), math.exp(-1 / (0.5 + 0.1)), 1]
    )


def test_where_a_head_stands_in_a_block_is_no_disagreement() -> None:
    one, other = _map([1.0, 0], [0, 0]), _map([0.0, 0], [0, 1])
    assert agreement([one, other]).flatten().tolist() == [1] * 4


def test_a_map_of_odd_sides_has_a_trust_for_every_cell() -> None:
    one = torch.ones(1, 1, 5, 7)
    other = one.clone()
    other[..., 4, 6] = 3
    assert (agreement([one, other])[0, 0] < 1).nonzero().tolist() == [[4, 6]]


def test_a_method_of_one_teacher_hears_the_mean_of_several_and_how_far_they_agree() -> None:
    ones, zeros = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    lessons = {"a": Look(ones, {}), "b": Look(zeros, {})}
    said = heard(lessons, ("teacher",))["teacher"]
    assert said.density_N1hw.flatten().tolist() == [0.5] * 4
    assert torch.equal(said.hints["trust"], agreement([ones, zeros]))
    assert heard(lessons, ("a", "b")) is lessons
    assert heard({}, ()) == {}


def test_autocast_does_not_round_what_teachers_say() -> None:
    maps = {role: torch.rand(1, 1, 8, 8) for role in "ab"}
    lessons = {role: Look(density, {}) for role, density in maps.items()}
    with torch.autocast("cpu", torch.bfloat16):
        said = heard(lessons, ("teacher",))["teacher"]
        assert regrid(maps["a"], (6, 6)).dtype == torch.float32
    assert torch.equal(said.density_N1hw, (maps["a"] + maps["b"]) / 2)
