import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.errors import DataError
from models.interval import IntervalTable

counts = st.floats(0, 5000)
pairs = st.lists(st.tuples(counts, counts), min_size=1, max_size=80)


@given(pairs=pairs, count=counts, bins=st.integers(1, 9), coverage=st.floats(0.5, 0.99))
def test_an_interval_holds_its_count_and_is_never_negative(
    pairs: list[tuple[float, float]], count: float, bins: int, coverage: float
) -> None:
    predicted, true = zip(*pairs, strict=True)
    table = IntervalTable.fit(predicted=predicted, true=true, coverage=coverage, bins=bins)
    low, high = table.around(count)
    assert 0 <= low <= count <= high


@given(pairs=pairs)
def test_a_table_survives_json(pairs: list[tuple[float, float]]) -> None:
    predicted, true = zip(*pairs, strict=True)
    table = IntervalTable.fit(predicted=predicted, true=true)
    assert IntervalTable.model_validate_json(table.model_dump_json()) == table


def _pictures(rng: np.random.Generator, number: int) -> tuple[list[float], list[float]]:
    """Skewed counts, seen with a bias and an error that grows with the count."""
    true = rng.lognormal(4, 1.2, number).round()
    predicted = np.maximum(0, true * rng.lognormal(0.05, 0.25, number) + rng.normal(1, 3, number))
    return predicted.tolist(), true.tolist()


@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("pictures", [25, 50, 200])
def test_intervals_cover_at_least_what_they_promise_on_pictures_of_the_same_kind(
    coverage: float, pictures: int
) -> None:
    """The promise is one on average over tables: five standard errors are left to chance."""
    rng = np.random.default_rng(0)
    shares: list[float] = []
    for _ in range(200):
        predicted, true = _pictures(rng, pictures)
        table = IntervalTable.fit(predicted=predicted, true=true, coverage=coverage)
        covered = []
        for count, truth in zip(*_pictures(rng, 20), strict=True):
            low, high = table.around(count)
            covered.append(low <= truth <= high)
        shares.append(float(np.mean(covered)))
    assert float(np.mean(shares)) >= coverage - 5 * float(np.std(shares)) / 200**0.5


def test_every_bin_holds_equally_many_pictures_and_the_last_has_no_end() -> None:
    predicted = [float(count) for count in range(100)]
    table = IntervalTable.fit(predicted=predicted, true=predicted)
    assert [b.up_to for b in table.bins] == [19, 39, 59, 79, None]
    assert table.pictures == 100


def test_a_net_that_counts_too_few_gets_room_above_only() -> None:
    predicted = [float(count) for count in range(19)]
    true = [count + 10 for count in predicted]
    table = IntervalTable.fit(predicted=predicted, true=true)
    assert table.bins[0].below == 0
    assert table.around(0) == (0, 10)  # of 19 pictures the worst decides: the empty one


@pytest.mark.parametrize(("pictures", "bins"), [(1, 1), (37, 1), (38, 2), (94, 4), (95, 5)])
def test_a_bin_of_a_ninety_percent_table_holds_nineteen_pictures_or_more(
    pictures: int, bins: int
) -> None:
    predicted = [float(count) for count in range(pictures)]
    assert len(IntervalTable.fit(predicted=predicted, true=predicted).bins) == bins


def test_a_table_without_pictures_is_refused() -> None:
    with pytest.raises(DataError, match="none"):
        IntervalTable.fit(predicted=[], true=[])


def test_a_table_refuses_keys_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="colour"):
        IntervalTable.model_validate({"coverage": 0.9, "pictures": 0, "bins": [], "colour": 1})
