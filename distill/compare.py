"""How sure a difference between two nets is: paired over pictures, by the bootstrap.

Efron, "Bootstrap methods: another look at the jackknife" (Annals of Statistics, 1979); percentile
interval. Shapes: S seeds (or 1), N pictures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.errors import DataError

DRAWS = 10_000


@dataclass(frozen=True)
class Difference:
    """Mean absolute error of one net less that of another; below zero, the first is better."""

    mean: float
    low: float
    high: float
    pictures: int


def difference(errors_SN: ArrayLike, than_SN: ArrayLike) -> Difference:
    """With the interval that holds it 19 times in 20, had other pictures been drawn.

    Absolute errors of the same pictures in the same order; those of several seeds are averaged
    first, so the interval says nothing about other seeds. Raises DataError for unequal pictures.
    """
    first_N, second_N = (
        np.atleast_2d(np.asarray(e, np.float64)).mean(axis=0) for e in (errors_SN, than_SN)
    )
    if first_N.shape != second_N.shape or not len(first_N):
        raise DataError(
            f"{len(first_N)} and {len(second_N)} errors cannot be paired: wanted those of the same "
            "pictures"
        )
    gap_N = first_N - second_N
    drawn = np.random.default_rng(0).integers(0, len(gap_N), (DRAWS, len(gap_N)))
    low, high = np.quantile(gap_N[drawn].mean(axis=1), [0.025, 0.975])
    return Difference(float(gap_N.mean()), float(low), float(high), len(gap_N))
