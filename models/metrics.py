"""How wrong counts are. Papers often print RMSE under the name "MSE"; here RMSE is RMSE.

N pictures; `predicted` and `true` are counts a picture, or density maps for GAME.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from models.density import Map

Counts = Sequence[float]


def mae(*, predicted: Counts, true: Counts) -> float:
    """Mean absolute error, people a picture."""
    return float(np.mean(np.abs(np.subtract(predicted, true))))


def rmse(*, predicted: Counts, true: Counts) -> float:
    """Root of the mean squared error, people a picture."""
    return float(np.sqrt(np.mean(np.square(np.subtract(predicted, true)))))


def nae(*, predicted: Counts, true: Counts) -> float:
    """Mean of error / truth over the pictures that have people (NWPU-Crowd's definition)."""
    error_N, true_N = np.abs(np.subtract(predicted, true)), np.asarray(true, dtype=np.float64)
    some_N = true_N > 0
    return float(np.mean(error_N[some_N] / true_N[some_N])) if some_N.any() else float("nan")


def bias(*, predicted: Counts, true: Counts) -> float:
    """Mean of predicted - true: positive where the net sees too many."""
    return float(np.mean(np.subtract(predicted, true)))


def game(*, predicted: Map, true: Map, level: int) -> float:
    """Grid average mean absolute error of one picture (Guerrero et al., 2015, eq. 5).

    The absolute error summed over 4 ** level equal regions; level 0 is the absolute count error.
    """
    n = 2**level
    edges_h, edges_w = (np.linspace(0, side, n + 1).round().astype(int) for side in predicted.shape)
    gap_hw = predicted.astype(np.float64) - true
    regions = (
        gap_hw[top:bottom, left:right].sum()
        for top, bottom in pairwise(edges_h)
        for left, right in pairwise(edges_w)
    )
    return float(sum(abs(region) for region in regions))


@dataclass(frozen=True)
class Scores:
    """Errors over a set of pictures; `mae_trimmed` leaves out the three largest errors."""

    pictures: int
    mae: float
    rmse: float
    nae: float
    bias: float
    mae_trimmed: float
    mean_true: float

    @classmethod
    def of(cls, *, predicted: Counts, true: Counts) -> "Scores":
        errors_N = np.sort(np.abs(np.subtract(predicted, true)))
        kept_N = errors_N[:-3] if len(errors_N) > 3 else errors_N
        return cls(
            pictures=len(true),
            mae=mae(predicted=predicted, true=true),
            rmse=rmse(predicted=predicted, true=true),
            nae=nae(predicted=predicted, true=true),
            bias=bias(predicted=predicted, true=true),
            mae_trimmed=float(kept_N.mean()),
            mean_true=float(np.mean(true)),
        )

    def plain(self) -> dict[str, float | None]:
        """For JSON, which has no NaN: the NAE of pictures without people is None."""
        return {name: None if np.isnan(value) else value for name, value in asdict(self).items()}
