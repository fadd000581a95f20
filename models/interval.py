"""How far a count may be off: split-conformal intervals by size of the count.

Lei et al., "Distribution-free predictive inference for regression" (JASA 2018), section 2.2, within
bins of the predicted count. The coverage holds for pictures like those the table was fitted on.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from models.errors import DataError

OFFSET = 5.0  # people added to a count before errors are taken relative to it: zero has errors too


class Bin(BaseModel):
    """Relative half-widths below and above a count, for counts up to `up_to` (None: any)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    up_to: float | None
    below: float
    above: float


class IntervalTable(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    coverage: float
    pictures: int
    bins: tuple[Bin, ...]

    @field_validator("bins")
    @classmethod
    def _for_any_count(cls, bins: tuple[Bin, ...]) -> tuple[Bin, ...]:
        if not bins or bins[-1].up_to is not None:
            raise ValueError("the last bin must be for any count (up_to: null)")
        return bins

    @classmethod
    def fit(
        cls,
        *,
        predicted: Sequence[float],
        true: Sequence[float],
        coverage: float = 0.9,
        bins: int = 5,
    ) -> "IntervalTable":
        """Bins hold equally many pictures; each side of an interval takes half of the misses.

        There are fewer bins where `bins` would hold too few pictures to keep the promise.
        """
        if not len(predicted):
            raise DataError("an interval table is fitted on pictures, and there are none")
        miss = (1 - coverage) / 2
        most = int(len(predicted) * miss / (1 - miss) + 1e-9)
        order = np.argsort(predicted)
        counts_N, truth_N = np.asarray(predicted)[order], np.asarray(true)[order]
        error_N = (truth_N - counts_N) / (counts_N + OFFSET)
        table = []
        for part in np.array_split(np.arange(len(order)), max(1, min(bins, most))):
            last = part[-1] == len(order) - 1
            table.append(
                Bin(
                    up_to=None if last else float(counts_N[part[-1]]),
                    below=max(0.0, _quantile(-error_N[part], 1 - miss)),
                    above=max(0.0, _quantile(error_N[part], 1 - miss)),
                )
            )
        return cls(coverage=coverage, pictures=len(order), bins=tuple(table))

    def around(self, count: float) -> tuple[float, float]:
        """The interval of a count; never below zero."""
        found = next(b for b in self.bins if b.up_to is None or count <= b.up_to)
        low = count - found.below * (count + OFFSET)
        return max(0.0, low), count + found.above * (count + OFFSET)


def _quantile(errors_N: np.ndarray, share: float) -> float:
    """The conformal quantile: the ceil((n + 1) share)-th smallest, or the largest there is."""
    rank = min(len(errors_N), int(np.ceil((len(errors_N) + 1) * share)))
    return float(np.sort(errors_N)[rank - 1])
