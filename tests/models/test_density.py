import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.density import Map, Points, cells, count, smooth, splat, spread

strides = st.sampled_from([1, 4, 8, 16])
shapes_hw = st.tuples(st.integers(1, 20), st.integers(1, 20))
points_P2 = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 60), st.just(2)),
    elements=st.floats(-500, 500, width=32),
)
maps_hw = hnp.arrays(np.float32, shapes_hw, elements=st.floats(0, 100, width=32))


@given(points_P2=points_P2, shape_hw=shapes_hw, stride=strides)
def test_a_splat_holds_every_head_wherever_it_lies(
    points_P2: Points, shape_hw: tuple[int, int], stride: int
) -> None:
    density_hw = splat(points_P2, shape_hw=shape_hw, stride=stride)
    assert density_hw.shape == shape_hw
    assert density_hw.dtype == np.float32
    assert count(density_hw) == len(points_P2)


@given(points_P2=points_P2, shape_hw=shapes_hw, stride=strides)
def test_a_spread_map_holds_every_head_wherever_it_lies_and_is_never_negative(
    points_P2: Points, shape_hw: tuple[int, int], stride: int
) -> None:
    density_hw = spread(points_P2, shape_hw=shape_hw, stride=stride)
    assert density_hw.shape == shape_hw
    assert density_hw.dtype == np.float32
    assert (density_hw >= 0).all()
    assert count(density_hw) == pytest.approx(len(points_P2), abs=1e-3)


@given(density_hw=maps_hw)
def test_smoothing_keeps_the_count(density_hw: Map) -> None:
    smoothed_hw = smooth(density_hw)
    assert smoothed_hw.shape == density_hw.shape
    assert smoothed_hw.dtype == np.float32
    assert count(smoothed_hw) == pytest.approx(count(density_hw), rel=1e-4, abs=1e-4)


def test_two_heads_in_one_cell_count_twice_and_one_outside_counts_in_the_nearest() -> None:
    points_P2 = np.array([[1, 1], [7.9, 7.9], [8, 0], [-30, 99]], np.float32)
    expected_hw = [[2, 1], [0, 0], [1, 0]]
    assert splat(points_P2, shape_hw=(3, 2), stride=8).tolist() == expected_hw


def test_a_head_in_the_middle_of_a_cell_spreads_as_the_binomial_around_it() -> None:
    density_hw = spread(np.array([[20, 20]], np.float32), shape_hw=(5, 5), stride=8)
    binomial = np.array([0, 0.25, 0.5, 0.25, 0])
    assert np.allclose(density_hw, np.outer(binomial, binomial))


def test_a_spread_map_does_not_jump_when_a_head_crosses_a_border() -> None:
    before, after = (
        spread(np.array([[x, 12]], np.float32), shape_hw=(4, 4), stride=8) for x in (15.99, 16.01)
    )
    assert float(np.abs(before - after).max()) < 0.01


def test_a_picture_of_one_pixel_more_has_one_cell_more() -> None:
    assert [cells(size, 8) for size in (1, 8, 9, 16, 17)] == [1, 1, 2, 2, 3]
