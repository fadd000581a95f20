"""Training crops: the batch of a step is a pure function of the recipe's seed and of the step.

So a run that goes on from step 1,000 sees what it would have seen had it never stopped.
Shapes: N crops, H x W pixels, h x w cells.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill.data import DATASETS, Image, Points, Sample
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


class CropMaker:
    """Holds every training picture decoded in memory and cuts the batch of any step."""

    def __init__(self, recipe: Recipe, *, data: Path, stride: int) -> None:
        self._recipe, self._stride = recipe, stride
        self._parts = [samples_of(part, data) for part in recipe.train]
        weights = np.array([part.weight for part in recipe.train])
        self._weights = weights / weights.sum()
        with ThreadPoolExecutor(2) as pool:
            self._images = [
                list(pool.map(lambda sample: sample.read(), part)) for part in self._parts
            ]

    def batch(self, step: int) -> Crops:
        rng = np.random.default_rng((self._recipe.seed, step))
        return _stack([self._crop(rng) for _ in range(self._recipe.batch)], self._stride)

    def _crop(self, rng: np.random.Generator) -> tuple[Image, Points]:
        part = int(rng.choice(len(self._parts), p=self._weights))
        which = int(rng.integers(len(self._parts[part])))
        points_P2 = self._parts[part][which].points_P2
        return self._recipe.augmentation(self._images[part][which], points_P2, rng)

    def ahead(self, steps: range) -> Iterator[Crops]:
        """The batches of these steps, in order, made by one thread in the background."""
        with ThreadPoolExecutor(1) as pool:
            waiting: deque[Future[Crops]] = deque()
            for step in steps:
                waiting.append(pool.submit(self.batch, step))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def _stack(crops: Sequence[tuple[Image, Points]], stride: int) -> Crops:
    shape_hw = tuple(side // stride for side in crops[0][0].shape[:2])
    heads = [splat(points, shape_hw=shape_hw, stride=stride) for _, points in crops]
    density = [spread(points, shape_hw=shape_hw, stride=stride) for _, points in crops]
    return Crops(
        frames_NHW3=torch.from_numpy(np.stack([image for image, _ in crops])),
        heads_N1hw=torch.from_numpy(np.stack(heads))[:, None],
        density_N1hw=torch.from_numpy(np.stack(density))[:, None],
    )
