"""The drawn plaza of `models.scene` as a data set: pictures made on reading, heads known exactly.

Splits draw different plazas: seeds 1000 and up for `train`, 1 to 12 for `val`; the demo camera's
seed 0 is in neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.data import Image, Sample
from models.errors import DataError
from models.scene import Plaza

SIZES = ((432, 768), (720, 1280), (540, 960))
SPLITS = {"train": range(1000, 1072), "val": range(1, 13), "smoke": range(20, 22)}
TIMES_S = (5.0, 65.0)


@dataclass(frozen=True)
class Drawing(Sample):
    """A picture that is drawn, not read; `path` only says which plaza it is."""

    seed: int = 0
    time_s: float = 0.0

    def read(self) -> Image:
        return _plaza(self.seed).at(self.time_s).image_HW3


def _plaza(seed: int) -> Plaza:
    people = int(np.random.default_rng(seed).choice([15, 40, 80, 130, 200]))
    return Plaza(seed=seed, size_hw=SIZES[seed % len(SIZES)], people=people)


def dataset(root: Path, split: str) -> Sequence[Sample]:
    """`root` is not used: there is nothing on disk."""
    if split not in SPLITS:
        raise DataError(f"the plaza has no split {split!r}; it has {', '.join(SPLITS)}")
    samples = []
    for seed in SPLITS[split]:
        plaza = _plaza(seed)
        for time_s in TIMES_S:
            name = f"plaza_{seed}_{time_s:g}"
            samples.append(Drawing(name, Path(name), plaza.at(time_s).points_P2, seed, time_s))
    return samples
