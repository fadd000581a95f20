import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.density import Map, count
from models.metrics import Scores, bias, game, mae, nae, rmse

counts = st.floats(0, 10_000)
pairs = st.lists(st.tuples(counts, counts), min_size=1, max_size=30)
twin_maps = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda hw: st.tuples(*[hnp.arrays(np.float32, hw, elements=st.floats(0, 5, width=32))] * 2)
)


@given(pairs=pairs)
def test_bias_is_within_mae_and_mae_within_rmse(pairs: list[tuple[float, float]]) -> None:
    predicted, true = zip(*pairs, strict=True)
    middle = mae(predicted=predicted, true=true)
    assert abs(bias(predicted=predicted, true=true)) <= middle * (1 + 1e-9)
    assert middle <= rmse(predicted=predicted, true=true) * (1 + 1e-9) + 1e-9  # squares underflow


@given(twins=twin_maps)
def test_game_never_falls_as_the_grid_gets_finer(twins: tuple[Map, Map]) -> None:
    predicted, true = twins
    levels = [game(predicted=predicted, true=true, level=level) for level in range(5)]
    assert all(coarse <= fine + 1e-6 for coarse, fine in pairwise(levels))


@given(twins=twin_maps)
def test_game_at_level_zero_is_the_absolute_error_of_the_count(twins: tuple[Map, Map]) -> None:
    predicted, true = twins
    error = abs(count(predicted) - count(true))
    assert game(predicted=predicted, true=true, level=0) == pytest.approx(error, abs=1e-3)


def test_game_sees_people_in_the_wrong_half_where_the_count_does_not() -> None:
    predicted, true = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1]
    assert game(predicted=predicted, true=true, level=0) == 0
    assert game(predicted=predicted, true=true, level=1) == 4


def test_errors_of_two_pictures_by_hand() -> None:
    predicted, true = [13.0, 16.0], [10.0, 20.0]
    assert mae(predicted=predicted, true=true) == 3.5
    assert rmse(predicted=predicted, true=true) == pytest.approx(math.sqrt(12.5))
    assert nae(predicted=predicted, true=true) == pytest.approx((0.3 + 0.2) / 2)
    assert bias(predicted=predicted, true=true) == -0.5


def test_nae_leaves_out_pictures_without_people_and_is_nan_where_there_are_no_others() -> None:
    assert nae(predicted=[5.0, 11.0], true=[0.0, 10.0]) == pytest.approx(0.1)
    assert math.isnan(nae(predicted=[5.0], true=[0.0]))


def test_the_trimmed_error_leaves_out_the_three_largest() -> None:
    predicted = [1.0, 2.0, 100.0, 3.0, 200.0, 300.0]
    scores = Scores.of(predicted=predicted, true=[0.0] * 6)
    assert (scores.pictures, scores.mae_trimmed) == (6, 2.0)


def test_three_pictures_are_too_few_to_trim() -> None:
    scores = Scores.of(predicted=[1.0, 2.0, 3.0], true=[0.0] * 3)
    assert scores.mae_trimmed == scores.mae == 2.0


def test_plain_scores_fit_in_json_where_nobody_is_to_be_counted() -> None:
    scores = Scores.of(predicted=[1.0], true=[0.0])
    assert json.loads(json.dumps(scores.plain(), allow_nan=False))["nae"] is None
    assert scores.plain()["mae"] == 1.0
