"""Supervised learning from head points alone: the control for every other method."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from distill.losses import pooled_chi, squared
from distill.methods import Batch
from models.nets import CountingNet


@dataclass(frozen=True)
class Supervised:
    """Squared error on the smoothed density map, and chi on counts in blocks."""

    cells: float = 1.0
    counts: float = 0.15

    def terms(
        self, batch: Batch, *, student: CountingNet, teachers: Mapping[str, CountingNet]
    ) -> dict[str, Tensor]:
        density_N1hw = student(batch.frames_N3HW).float()
        return {
            "cells": self.cells * squared(predicted=density_N1hw, target=batch.density_N1hw),
            "counts": self.counts * pooled_chi(predicted=density_N1hw, heads=batch.heads_N1hw),
        }


method = Supervised
