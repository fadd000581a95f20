import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.cutmix import COVERED, Mix, cutmix, hide
from distill.pace import fading, rising

ALL = torch.ones(6, dtype=torch.bool)
PEOPLE = torch.tensor([30.0, 1.0, 20.0, 0.0, 50.0, 40.0])


def _mix(*, seed: int = 0, mixed: torch.Tensor = ALL, side: int = 32, unit: int = 2) -> Mix:
    rng = np.random.default_rng(seed)
    return cutmix(mixed, PEOPLE[: len(mixed)], shape_hw=(side, side), unit=unit, rng=rng)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_mixed_map_holds_exactly_the_people_of_its_parts(seed: int) -> None:
    maps = torch.randint(0, 9, (6, 1, 32, 32), generator=torch.Generator().manual_seed(7)).double()
    mix = _mix(seed=seed)
    mixed = mix.paste(maps)
    for crop in range(6):
        box = mix.pasted_N1hw[crop]
        parts = maps[crop][~box].sum() + maps[mix.other_N[crop]][box].sum()
        assert mixed[crop].sum() == parts


@given(seed=st.integers(0, 2**32 - 1), unit=st.sampled_from([1, 2, 4]))
def test_boxes_end_on_whole_units_and_cover_what_they_should(seed: int, unit: int) -> None:
    pasted = _mix(seed=seed, unit=unit).pasted_N1hw.float()
    units = torch.nn.functional.avg_pool2d(pasted, unit)
    assert ((units == 0) | (units == 1)).all()
    for crop in pasted:
        assert COVERED[0] <= crop.mean() <= COVERED[1]


def test_all_shares_between_a_quarter_and_a_half_are_drawn() -> None:
    shares = torch.cat([_mix(seed=s).pasted_N1hw.float().mean(dim=(1, 2, 3)) for s in range(30)])
    assert shares.min() < 0.28
    assert shares.max() > 0.45


def test_frames_maps_and_features_take_the_same_boxes() -> None:
    mix = _mix(unit=2)
    cells = torch.arange(6.0).view(6, 1, 1, 1)
    frames, maps = (mix.paste(cells.expand(6, 3, n, n)) for n in (256, 32))
    features = mix.paste(cells.expand(6, 5, 16, 16))
    assert torch.equal(frames[:, 0, ::8, ::8], maps[:, 0])
    assert torch.equal(frames[:, 0, 7::8, 7::8], maps[:, 0])
    assert torch.equal(features[:, 0].repeat_interleave(2, 1).repeat_interleave(2, 2), maps[:, 0])


def test_crops_that_are_not_mixed_stay_and_give_nothing() -> None:
    mixed = torch.tensor([True, False, True, True, False, True])
    mix = _mix(mixed=mixed)
    assert not mix.pasted_N1hw[~mixed].any()
    assert mixed[mix.other_N[mixed]].all()
    frames = torch.randn(6, 3, 256, 256)
    assert torch.equal(mix.paste(frames)[~mixed], frames[~mixed])


def test_a_crop_is_mixed_with_its_neighbour_in_count() -> None:
    assert _mix().other_N.tolist() == [5, 2, 0, 1, 5, 4]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_crops_can_be_mixed_too(number: int) -> None:
    mixed = torch.arange(3) < number
    maps = torch.rand(3, 1, 32, 32)
    pasted = _mix(mixed=mixed).paste(maps)
    assert torch.equal(pasted[~mixed], maps[~mixed])
    if number == 1:
        assert torch.equal(pasted, maps)
    if number == 2:
        assert not torch.equal(pasted, maps)


def test_a_crop_of_a_single_unit_is_mixed_whole() -> None:
    assert _mix(side=2, unit=2).pasted_N1hw.all()


def test_the_border_is_one_cell_wide_on_both_sides_and_not_at_the_picture_s_edge() -> None:
    pasted = torch.zeros(1, 1, 6, 6, dtype=torch.bool)
    pasted[..., :3, :3] = True
    border = Mix(pasted, torch.tensor([0])).border()[0, 0]
    rows = ["..xx..", "..xx..", "xxxx..", "xxxx..", "......", "......"]
    assert border.tolist() == [[cell == "x" for cell in row] for row in rows]


def test_hidden_squares_are_grey_whole_and_as_many_as_asked() -> None:
    frames = torch.full((4, 3, 256, 256), 5.0)
    hidden = hide(frames, np.random.default_rng(0), share=0.3) == 0
    squares = torch.nn.functional.avg_pool2d(hidden.float(), 32)
    assert ((squares == 0) | (squares == 1)).all()
    assert 0.2 < squares.mean() < 0.4
    assert torch.equal(hidden[:, 0], hidden[:, 2])


def test_a_ramp_rises_to_one_and_stays() -> None:
    ramp = [rising(done, over=0.2) for done in (0, 0.05, 0.1, 0.2, 1)]
    assert ramp == sorted(ramp)
    assert 0 < ramp[0] < 0.01
    assert ramp[3:] == [1, 1]


def test_what_fades_is_gone_at_the_end() -> None:
    assert [fading(done, over=0.25) for done in (0, 0.75, 0.875, 1)] == [1, 1, 0.5, 0]
