"""MGD for counting: two teachers at three granularities, on crops with labels and without.

Qin et al., "Multi-Granularity Distillation Scheme Towards Lightweight Semi-Supervised Semantic
Segmentation" (ECCV 2022, arXiv 2208.10169): the deeper teacher says how the whole picture is, the
wider one how its regions relate, both what each pixel is, on CutMix pictures. From its code: the
7 x 7 self-similarity and its weight. The port from classes to densities is ours: pseudo-labels are
a mean of both maps, trusted where they agree; pooled logits become the total and a histogram of
density levels (thresholds of DACount, ACM MM 2022); counts of regions are added.

Teachers of a semi-supervised run must not have seen the labels that the student goes without.

Shapes: N crops, C channels, h x w cells, G cells of a 7 x 7 grid, L density levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from distill.batch import Batch, Lessons
from distill.cutmix import Mix, cutmix
from distill.losses import LOSSES, over_labelled
from distill.methods import Method
from distill.pace import rising
from distill.views import agreement
from models.errors import ConfigError
from models.nets import CountingNet

SIMILAR = 7  # grid of the self-similarity
REGIONS = (4, 8)  # grids of the regional counts
CROWD = 10.0  # people: errors of the total are relative above it
LEVELS = (
    1.6e-4, 0.0048, 0.0121, 0.0216, 0.0336, 0.0481, 0.0657, 0.0868, 0.112, 0.142, 0.178, 0.222,
    0.273, 0.336, 0.411, 0.503, 0.617, 0.762, 0.951, 1.206, 1.571, 2.139, 3.233, 7.915,
)  # fmt: skip
SOFT = 0.05  # people: no level's edge is steeper, or nearly empty cells would outshout the rest
AS_THEY_ARE: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(frozen=True)
class Weights:
    pixel: float = 100.0  # mean over cells
    similarity: float = 100.0  # mean over the matrix
    regions: float = 0.1  # sum over regions
    image: float = 1.0  # at 0.1 the gradient of these two is a fiftieth of the others'
    levels: float = 1.0


class Mgd(Method):
    """`weights`: any of `Weights` by name; `share`: the deeper teacher's in the mean of both maps.

    A hint is named by its net's name for it; empty is the last, before the map is made.
    """

    roles = ("deeper", "wider")

    def __init__(
        self,
        loss: str = "chi",
        weights: Mapping[str, float] = AS_THEY_ARE,
        share: float = 0.5,
        ramp: float = 0.2,
        student_hint: str = "",
        wider_hint: str = "",
    ) -> None:
        super().__init__()
        self.loss = LOSSES[loss]()
        self.weights = Weights(**weights)
        self.share, self.ramp = share, ramp
        self.student_hint, self.wider_hint = student_hint, wider_hint
        self.unit = 1

    def meet(self, *, student: CountingNet, teachers: Mapping[str, CountingNet]) -> None:
        """Boxes fit the coarsest grid of all. Raises ConfigError where a bank has no features."""
        if self.weights.similarity and not teachers:
            raise ConfigError(
                "the self-similarity of mgd wants the wider teacher's features, and a bank holds "
                "none: set weights={'similarity': 0}, or use no bank"
            )
        whole = lcm(student.spec.multiple, *(net.spec.multiple for net in teachers.values()))
        self.unit = whole // student.spec.stride

    def terms(
        self, batch: Batch, *, student: CountingNet, lessons: Lessons, done: float
    ) -> dict[str, Tensor]:
        maps = {role: lessons[role].density_N1hw.float().clamp(min=0) for role in self.roles}
        mix = self._mix(batch, maps["deeper"])
        look = student.look(mix.paste(batch.frames_N3HW))
        deeper, wider = mix.paste(maps["deeper"]), mix.paste(maps["wider"])
        target = self.share * deeper + (1 - self.share) * wider
        labelled = batch.labelled_N[:, None, None, None]
        trust = torch.where(
            labelled, agreement([target, batch.density_N1hw]), agreement([deeper, wider])
        )
        density = look.density_N1hw.float()
        weighed = {
            "pixel": (self.weights.pixel, trusted(density, target, trust * ~mix.border())),
            "regions": (self.weights.regions, regional(density, target)),
            "image": (self.weights.image, total(density, deeper)),
            "levels": (self.weights.levels, levels(density, deeper)),
        }
        if self.weights.similarity:
            taught = mix.paste(_hint(lessons["wider"].hints, self.wider_hint))
            alike = similarity(_hint(look.hints, self.student_hint), taught)
            weighed["similarity"] = (self.weights.similarity, alike)
        ramp = rising(done, over=self.ramp)
        return over_labelled(self.loss(look, batch), batch) | {
            name: ramp * weight * loss for name, (weight, loss) in weighed.items()
        }

    def _mix(self, batch: Batch, density_N1hw: Tensor) -> Mix:
        height, width = density_N1hw.shape[2:]
        return cutmix(
            ~batch.labelled_N, density_N1hw.sum(dim=(1, 2, 3)), shape_hw=(height, width),
            unit=self.unit, rng=np.random.default_rng(batch.seed),
        )  # fmt: skip


def trusted(predicted_N1hw: Tensor, target_N1hw: Tensor, trust_N1hw: Tensor) -> Tensor:
    """Pixel level: absolute error, mean over all cells."""
    return (trust_N1hw * (predicted_N1hw - target_N1hw).abs()).mean()


def similarity(learned_NChw: Tensor, taught_NChw: Tensor) -> Tensor:
    """Region level: squared error of G x G cosines, mean; channels need not match."""
    return (cosines(learned_NChw) - cosines(taught_NChw)).square().mean()


def cosines(features_NChw: Tensor) -> Tensor:
    """How alike each two regions are: (N, G, G), in fp32."""
    pooled_NCG = F.adaptive_avg_pool2d(features_NChw.float(), SIMILAR).flatten(2)
    units_NCG = F.normalize(pooled_NCG, dim=1)
    with torch.autocast(units_NCG.device.type, enabled=False):
        return units_NCG.mT @ units_NCG


def regional(predicted_N1hw: Tensor, target_N1hw: Tensor) -> Tensor:
    """Region level: absolute errors of the counts of regions, summed over both grids; mean over
    crops. Exact where a grid divides the map.
    """
    cells = predicted_N1hw.shape[2] * predicted_N1hw.shape[3]
    apart = predicted_N1hw - target_N1hw
    errors = [F.adaptive_avg_pool2d(apart, grid).abs().mean(dim=(1, 2, 3)) for grid in REGIONS]
    return torch.stack(errors).sum(dim=0).mean() * cells


def total(predicted_N1hw: Tensor, target_N1hw: Tensor) -> Tensor:
    """Image level: error of the count, relative in crowds; mean over crops."""
    predicted_N, target_N = predicted_N1hw.sum(dim=(1, 2, 3)), target_N1hw.sum(dim=(1, 2, 3))
    return ((predicted_N - target_N).abs() / (target_N + CROWD)).mean()


def levels(predicted_N1hw: Tensor, target_N1hw: Tensor) -> Tensor:
    """Image level: L1 distance of histograms of density; mean over crops."""
    return (histogram(predicted_N1hw) - histogram(target_N1hw)).abs().sum(dim=1).mean()


def histogram(density_N1hw: Tensor) -> Tensor:
    """Shares of cells at each of 25 density levels (N, L); a cell between two counts in both."""
    edges = density_N1hw.new_tensor((0.0, *LEVELS)).view(1, -1, 1, 1)
    # edges rise and so do their widths: what is above an edge is above those below
    above = ((density_N1hw - edges[:, :-1]) / edges.diff(dim=1).clamp(min=SOFT)).clamp(0, 1)
    above_NL = above.mean(dim=(2, 3))
    all_N1 = torch.ones_like(above_NL[:, :1])
    return -above_NL.diff(dim=1, prepend=all_N1, append=0 * all_N1)


def _hint(hints: dict[str, Tensor], name: str) -> Tensor:
    """The named one, or the last. Raises ConfigError for a name that the net does not know."""
    wanted = name or next(reversed(hints))
    if wanted not in hints:
        raise ConfigError(f"mgd looks for the hint {wanted!r}; there are {', '.join(hints)}")
    return hints[wanted]


method = Mgd
