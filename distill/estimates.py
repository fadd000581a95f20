"""Losses of a net that estimates several times in a row.

Shapes: N crops, C channels, h x w cells.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from distill.batch import Batch
from distill.losses import Loss, over_labelled
from models.errors import ConfigError
from models.nets import CountingNet, Look

FIRST = 0.5  # weight of the first estimate; the last, which is what the net answers, has 1


@runtime_checkable
class Reviewing(Protocol):
    """What a review needs of a net, whichever it is."""

    def estimates(self, latent_NChw: Tensor) -> list[Look]:
        """First to last; the last is what the net answers."""
        ...


def reviewing(student: CountingNet) -> Reviewing:
    """The student. Raises ConfigError where it estimates only once."""
    if isinstance(student, Reviewing):
        return student
    name = type(student).__name__
    raise ConfigError(
        f"a review estimates twice, {name} does once: set net='reviewed' and name the net that it "
        "wraps in net_arguments, or ask for no review"
    )


def over_estimates(loss: Loss, looks: Sequence[Look], batch: Batch) -> dict[str, Tensor]:
    """The loss of each estimate over the crops with labels, as `NAME_k`; weights rise evenly."""
    last = len(looks) - 1
    terms = {}
    for k, look in enumerate(looks):
        weight = 1 - (1 - FIRST) * (last - k) / max(1, last)
        for name, term in over_labelled(loss(look, batch), batch).items():
            terms[f"{name}_{k}"] = weight * term
    return terms
