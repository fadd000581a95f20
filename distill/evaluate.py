"""Counting whole pictures with a net, and scoring the counts against the head points."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from distill.data import Image, Sample
from models.density import Map, count
from models.geometry import Letterbox, pad
from models.metrics import Scores
from models.nets import CountingNet, Pixels

Track = Callable[[Iterable[Sample]], Iterable[Sample]]


@dataclass(frozen=True)
class Counted:
    """One picture's count beside the truth."""

    id: str
    predicted: float
    true: int


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
    samples: Iterable[Sample], net: CountingNet, *, bf16: bool = False, track: Track = iter
) -> list[Counted]:
    was_training = net.training
    counted = [
        Counted(s.id, count(density_of(s.read(), net, bf16=bf16)), s.count) for s in track(samples)
    ]
    net.train(was_training)
    return counted


def scores_by_part(counted: Iterable[Counted]) -> dict[str, Scores]:
    """Scores of each data set, told apart by the first word of the ids (`sha`, `shb`, ...)."""
    parts: dict[str, list[Counted]] = {}
    for one in counted:
        parts.setdefault(one.id.split("_")[0], []).append(one)
    return {
        part: Scores.of(predicted=[c.predicted for c in some], true=[c.true for c in some])
        for part, some in parts.items()
    }
