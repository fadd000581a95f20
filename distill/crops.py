"""Training crops: the batch of a step is a pure function of the recipe's seed and of the step.

So a run that goes on from step 1,000 sees what it would have seen had it never stopped.
Shapes: N crops, H x W pixels, h x w cells.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill.data import DATASETS, Image, Points, Sample
from distill.lists import ids
from distill.recipes import Part, Recipe
from models.density import splat, spread
from models.errors import DataError

AHEAD = 6  # batches made while the net works


def samples_of(part: Part, data: Path) -> list[Sample]:
    """The pictures a part names. Raises DataError where there are none."""
    samples = [
        sample
        for sample in DATASETS[part.dataset](data / part.folder, part.split)
        if sample.id.startswith(part.prefix)
    ]
    if part.listed:
        samples = [sample for sample in samples if sample.id in ids(part.listed)]
    if part.unlisted:
        samples = [sample for sample in samples if sample.id not in ids(part.unlisted)]
    if part.fold != "all":
        samples = [s for i, s in enumerate(samples) if (i % 8 == 7) == (part.fold == "held")]
    if not samples:
        raise DataError(f"{part.dataset} {part.split} at {data} holds no picture for {part}")
    return samples


@dataclass(frozen=True)
class Crops:
    """uint8 crops with both targets, not yet normalised."""

    frames_NHW3: Tensor
    heads_N1hw: Tensor
    density_N1hw: Tensor
    points: Sequence[Tensor]  # P x 2 a crop
    labelled_N: Tensor
    taught_N1hw: Mapping[str, Tensor] = field(default_factory=dict)
    """Density maps of teachers by their roles, where the crops come from a bank."""

    def to(self, device: torch.device) -> "Crops":
        return Crops(
            self.frames_NHW3.to(device),
            self.heads_N1hw.to(device),
            self.density_N1hw.to(device),
            [points_P2.to(device) for points_P2 in self.points],
            self.labelled_N.to(device),
            {role: maps.to(device) for role, maps in self.taught_N1hw.items()},
        )


class Crop(NamedTuple):
    image_HW3: Image
    points_P2: Points
    labelled: bool


class CropMaker:
    """Holds every training picture decoded in memory and cuts the batch of any step."""

    def __init__(self, recipe: Recipe, parts: Sequence[Sequence[Sample]], *, stride: int) -> None:
        """`parts`: the pictures of each part that the recipe trains on, in its order."""
        self._recipe, self._stride, self._parts = recipe, stride, parts
        weights = np.array([part.weight for part in recipe.train])
        self._weights = weights / weights.sum()
        with ThreadPoolExecutor(2) as pool:
            self._images = [
                list(pool.map(lambda sample: sample.read(), part)) for part in self._parts
            ]

    @classmethod
    def of(cls, recipe: Recipe, *, data: Path, stride: int) -> "CropMaker":
        """From the data sets that the recipe names. Raises DataError where one is missing."""
        return cls(recipe, [samples_of(part, data) for part in recipe.train], stride=stride)

    def batch(self, step: int) -> Crops:
        rng = np.random.default_rng((self._recipe.seed, step))
        return stacked([self._crop(rng) for _ in range(self._recipe.batch)], self._stride)

    def _crop(self, rng: np.random.Generator) -> Crop:
        part = int(rng.choice(len(self._parts), p=self._weights))
        which = int(rng.integers(len(self._parts[part])))
        labelled = self._recipe.train[part].labelled
        points_P2 = self._parts[part][which].points_P2[: None if labelled else 0]
        image, points_P2 = self._recipe.augmentation(self._images[part][which], points_P2, rng)
        return Crop(image, points_P2, labelled)

    def ahead(self, steps: range) -> Iterator[Crops]:
        return ahead(self.batch, steps)


def ahead(batch: Callable[[int], Crops], steps: range) -> Iterator[Crops]:
    """The batches of these steps, in order, made by one thread in the background."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Crops]] = deque()
        for step in steps:
            waiting.append(pool.submit(batch, step))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def stacked(crops: Sequence[Crop], stride: int) -> Crops:
    """One batch of them, with both targets."""
    shape_hw = tuple(side // stride for side in crops[0].image_HW3.shape[:2])
    heads = [splat(crop.points_P2, shape_hw=shape_hw, stride=stride) for crop in crops]
    density = [spread(crop.points_P2, shape_hw=shape_hw, stride=stride) for crop in crops]
    return Crops(
        frames_NHW3=torch.from_numpy(np.stack([crop.image_HW3 for crop in crops])),
        heads_N1hw=torch.from_numpy(np.stack(heads))[:, None],
        density_N1hw=torch.from_numpy(np.stack(density))[:, None],
        points=[torch.from_numpy(crop.points_P2) for crop in crops],
        labelled_N=torch.tensor([crop.labelled for crop in crops]),
    )
