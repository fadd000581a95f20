import numpy as np
import pytest

from distill.compare import difference
from models.errors import DataError


def test_the_errors_of_several_seeds_are_averaged_before_they_are_paired() -> None:
    found = difference([[10.0, 0.0, 4.0], [14.0, 2.0, 4.0]], [8.0, 3.0, 4.0])
    assert found.mean == pytest.approx((12 - 8 + 1 - 3 + 4 - 4) / 3)
    assert found.pictures == 3


def test_a_gap_that_every_picture_has_is_certain() -> None:
    errors = np.linspace(0, 300, 58)
    found = difference(errors - 2, errors)
    assert (found.low, found.mean, found.high) == pytest.approx((-2, -2, -2))


def test_pairing_makes_a_small_gap_sure_where_pictures_differ_much() -> None:
    rng = np.random.default_rng(1)
    hard = rng.exponential(100, 138)
    found = difference(hard * 0.9, hard)
    assert found.high < 0
    assert found.low < found.mean < found.high


def test_an_interval_holds_what_it_says_as_often_as_it_says() -> None:
    """Of 40 samples of 60 pictures whose true gap is 1, about 38 intervals hold it."""
    rng = np.random.default_rng(0)
    gaps = rng.normal(1, 5, (40, 60))
    found = [difference(gap, np.zeros(60)) for gap in gaps]
    assert 34 <= sum(one.low <= 1 <= one.high for one in found) < 40


@pytest.mark.parametrize(("one", "other"), [([1.0, 2.0], [1.0]), ([], [])])
def test_what_cannot_be_paired_is_refused(one: list[float], other: list[float]) -> None:
    with pytest.raises(DataError, match="cannot be paired: wanted those of the same pictures"):
        difference(one, other)
