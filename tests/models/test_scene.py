import numpy as np
import pytest
from numpy.typing import NDArray

from models.scene import Drawn, Plaza

SMALL = (180, 320)


@pytest.fixture(scope="module")
def plaza() -> Plaza:
    return Plaza(seed=3, size_hw=SMALL, people=30)


def _steps(a_P2: NDArray[np.float32], b_P2: NDArray[np.float32]) -> NDArray[np.float32]:
    """From each head of `a` to the nearest of `b`, in pixels."""
    away = np.linalg.norm(a_P2[:, None] - b_P2[None], axis=2)
    return np.asarray(away.min(axis=1), np.float32)


def test_the_same_time_gives_the_same_picture_in_any_order_and_from_any_camera(
    plaza: Plaza,
) -> None:
    first = plaza.at(12.3)
    plaza.at(80.0)
    for again in (plaza.at(12.3), Plaza(seed=3, size_hw=SMALL, people=30).at(12.3)):
        assert np.array_equal(first.image_HW3, again.image_HW3)
        assert np.array_equal(first.points_P2, again.points_P2)


@pytest.mark.parametrize("time_s", [0.0, 7.77, 3600.0, 1.7e9])
def test_every_point_is_inside_the_picture_and_counts_once(plaza: Plaza, time_s: float) -> None:
    drawn = plaza.at(time_s)
    assert drawn.image_HW3.shape == (*SMALL, 3)
    assert drawn.image_HW3.dtype == np.uint8
    assert drawn.points_P2.dtype == np.float32
    assert drawn.count == len(drawn.points_P2) > 0
    assert (drawn.points_P2 >= 0).all()
    assert (drawn.points_P2 < (SMALL[1], SMALL[0])).all()


def test_the_number_in_view_drifts_about_the_typical_one_and_stays_positive(plaza: Plaza) -> None:
    counts = [plaza.at(time_s).count for time_s in range(0, 400, 20)]
    assert min(counts) > 0
    assert max(counts) - min(counts) >= 8
    assert np.mean(counts) == pytest.approx(30, rel=0.4)


def test_a_tenth_of_a_second_moves_heads_by_little(plaza: Plaza) -> None:
    before, after = plaza.at(33.0), plaza.at(33.1)
    steps = _steps(after.points_P2, before.points_P2)
    assert abs(after.count - before.count) <= 3
    assert np.median(steps) < 2.0
    assert (steps < 6.0).mean() > 0.9


def test_two_seeds_are_two_places() -> None:
    a, b = (Plaza(seed=seed, size_hw=SMALL, people=10).at(5.0) for seed in (1, 2))
    assert np.abs(a.image_HW3.astype(int) - b.image_HW3).mean() > 10
    assert not np.array_equal(a.points_P2, b.points_P2)


def test_the_picture_changes_where_the_heads_are(plaza: Plaza) -> None:
    drawn = plaza.at(21.0)
    empty = np.median([plaza.at(t).image_HW3 for t in range(0, 330, 30)], axis=0)
    change = np.abs(drawn.image_HW3 - empty).max(axis=2)
    x, y = drawn.points_P2.astype(int).T
    assert change[y, x].mean() > 2 * change.mean()


def test_a_plaza_of_360_rows_has_the_same_crowd_at_half_the_size() -> None:
    small: Drawn = Plaza(seed=4, size_hw=(360, 640), people=20).at(9.0)
    large: Drawn = Plaza(seed=4, size_hw=(720, 1280), people=20).at(9.0)
    assert small.image_HW3.shape == (360, 640, 3)
    assert abs(small.count - large.count) <= 2
    assert np.median(_steps(small.points_P2 * 2, large.points_P2)) < 1.0
