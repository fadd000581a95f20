"""Counting whole pictures with a net, and scoring the counts against the head points."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean

import cv2
import numpy as np
import torch

from distill.data import Image, Sample
from models.density import Map, count, splat
from models.geometry import Letterbox, pad
from models.metrics import Scores, game
from models.nets import CountingNet, Pixels

LEVELS = (1, 2, 3)  # of GAME: 4, 16 and 64 regions
Track = Callable[[Iterable[Sample]], Iterable[Sample]]


@dataclass(frozen=True)
class Counted:
    """One picture's count beside the truth."""

    id: str
    predicted: float
    true: int
    games: tuple[float, ...] = ()
    """GAME at `LEVELS`: whether people are where the map says. None where it was not kept."""


@torch.inference_mode()
def density_of(image_HW3: Image, net: CountingNet, *, bf16: bool = False) -> Map:
    """The density map of one picture at its own size, on the cells that cover it.

    Computed where the net lies.
    """
    size = (image_HW3.shape[0], image_HW3.shape[1])
    box = Letterbox.fit(size, box=size, multiple=net.spec.multiple)
    device = next(net.parameters(), torch.empty(0)).device
    frames_1HW3 = torch.from_numpy(pad(image_HW3, box.padded))[None].to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        density_1hw = Pixels(net).to(device).eval()(frames_1HW3)
    return box.crop(density_1hw[0].float().cpu().numpy(), net.spec.stride)


def counts_of(
    samples: Iterable[Sample],
    net: CountingNet,
    *,
    bf16: bool = False,
    scale: float = 1.0,
    track: Track = iter,
) -> list[Counted]:
    """Each picture's count, after its sides were multiplied by `scale`."""
    was_training = net.training
    counted = []
    for sample in track(samples):
        density_hw = density_of(_resized(sample.read(), scale), net, bf16=bf16)
        shape_hw = (density_hw.shape[0], density_hw.shape[1])
        true_hw = splat(sample.points_P2 * scale, shape_hw=shape_hw, stride=net.spec.stride)
        games = tuple(game(predicted=density_hw, true=true_hw, level=level) for level in LEVELS)
        counted.append(Counted(sample.id, count(density_hw), sample.count, games))
    net.train(was_training)
    return counted


def _resized(image_HW3: Image, scale: float) -> Image:
    """As crops are: averaging down, linear up. At 1 the picture itself, not softened."""
    if scale == 1:
        return image_HW3
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_HW3, None, fx=scale, fy=scale, interpolation=how), np.uint8)


def scores_by_part(counted: Iterable[Counted]) -> dict[str, Scores]:
    """Scores of each data set."""
    return {
        part: Scores.of(predicted=[c.predicted for c in some], true=[c.true for c in some])
        for part, some in _by_part(counted).items()
    }


def games_by_part(counted: Iterable[Counted]) -> dict[str, tuple[float, ...]]:
    """Mean GAME of each data set at `LEVELS`."""
    return {
        part: tuple(fmean(at) for at in zip(*(c.games for c in some), strict=True))
        for part, some in _by_part(counted).items()
    }


def _by_part(counted: Iterable[Counted]) -> dict[str, list[Counted]]:
    """Told apart by the first word of the ids (`sha`, `shb`, ...)."""
    parts: dict[str, list[Counted]] = {}
    for one in counted:
        parts.setdefault(one.id.split("_")[0], []).append(one)
    return parts
