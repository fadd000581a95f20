"""Losses of a density map against head points. Each file holds `loss(**arguments) -> Loss`.

Shapes: N crops, h x w cells.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from distill.batch import Batch
from models.nets import Look
from models.plugins import Plugins


class Loss(Protocol):
    def __call__(self, look: Look, batch: Batch) -> dict[str, Tensor]:
        """Named losses, one number a crop (N); what they say of crops without labels is not used.

        Sums over cells, in fp32: a crop of 256 px weighs as many cells as it has.
        """
        ...


LOSSES: Plugins[Callable[..., Loss]] = Plugins("distill.losses", "loss")


def over_labelled(losses: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """The means over the crops that have labels, zero where none has."""
    share_N = batch.labelled_N.float() / batch.labelled_N.sum().clamp(min=1)
    return {name: (loss_N * share_N).sum() for name, loss_N in losses.items()}
