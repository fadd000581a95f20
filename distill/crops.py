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
from numpy.typing import NDArray
from torch import Tensor

from distill.cutmix import boxes
from distill.data import DATASETS, Image, Points, Sample
from distill.lists import ids
from distill.recipes import Part, Recipe
from models.density import splat, spread
from models.errors import DataError

AHEAD = 6  # batches made while the net works
BOX_PX = 16  # sides of a box are multiples of it


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
        crops = [self._crop(rng) for _ in range(self._recipe.batch)]
        if share := self._recipe.augmentation.mixed:
            crops = mixed(crops, rng, share=share)
        return stacked(crops, self._stride)

    def _crop(self, rng: np.random.Generator) -> Crop:
        part = int(rng.choice(len(self._parts), p=self._weights))
        which = int(rng.integers(len(self._parts[part])))
        labelled = self._recipe.train[part].labelled
        points_P2 = self._parts[part][which].points_P2[: None if labelled else 0]
        image, points_P2 = self._recipe.augmentation(self._images[part][which], points_P2, rng)
        return Crop(image, points_P2, labelled)

    def ahead(self, steps: range) -> Iterator[Crops]:
        return ahead(self.batch, steps)


def mixed(crops: Sequence[Crop], rng: np.random.Generator, *, share: float) -> list[Crop]:
    """A share of the crops have boxes (CutMix) of the crop that is next to them in count."""
    order = sorted(range(len(crops)), key=lambda which: len(crops[which].points_P2))
    after = dict(zip(order, [*order[1:], *order[-2:][:1]], strict=True))
    return [
        _pasted(crop, crops[after[which]], rng) if rng.random() < share else crop
        for which, crop in enumerate(crops)
    ]


def _pasted(crop: Crop, other: Crop, rng: np.random.Generator) -> Crop:
    """A head comes with the pixel that it lies on. Without the labels of both it has none."""
    side = crop.image_HW3.shape[0]
    units = -(-side // BOX_PX)
    box_HW = boxes(units, units, rng).repeat(BOX_PX, axis=0).repeat(BOX_PX, axis=1)[:side, :side]
    image_HW3 = np.where(box_HW[:, :, None], other.image_HW3, crop.image_HW3)
    labelled = crop.labelled and other.labelled
    kept_P2 = crop.points_P2[~_lies_in(box_HW, crop.points_P2)]
    came_P2 = other.points_P2[_lies_in(box_HW, other.points_P2)]
    points_P2 = np.concatenate([kept_P2, came_P2])[: None if labelled else 0]
    return Crop(image_HW3, points_P2, labelled)


def _lies_in(box_HW: NDArray[np.bool_], points_P2: Points) -> NDArray[np.bool_]:
    columns, rows = points_P2.astype(int).clip(0, len(box_HW) - 1).T
    return np.asarray(box_HW[rows, columns])


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
