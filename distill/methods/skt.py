"""Structured Knowledge Transfer (SKT; Liu et al., "Efficient Crowd Counting via Structured
Knowledge Transfer", ACM MM 2020), in the details of its published code.

Besides the head points (hard) and the teacher's map (soft), a student is shown

- intra-layer patterns: at every position of six layers its channels, brought to the teacher's width
  by a 1 x 1 convolution and ReLU, shall point where the teacher's do (cosine);
- inter-layer relations: the channels of any two of the six layers and the map shall correlate over
  the cells as the teacher's do (21 FSP matrices of instance-normalised features).

Shapes: N crops, C channels, h x w cells, H' x W' positions of a layer.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn import functional as F

from distill.batch import Batch, Lessons
from distill.losses import LOSSES, Loss, over_labelled
from distill.losses.chi import squared
from distill.methods import Method
from models.errors import ConfigError
from models.nets import CountingNet, Look, widths_of

LAYERS = ("conv1_1", "pool1", "pool2", "pool3", "back1", "back4")
TINY = 1e-6


class Skt(Method):
    """`loss` names the hard loss; empty: squared error of the cells, as published. `soft`, `intra`
    and `inter` are weights: at 0 a term is neither computed nor named. `layers` are names of hints,
    or the student's names with the teacher's where these differ.

    `reduction="sum"` is published: every position and every matrix entry counts one. In a crop of
    576 x 864 those are 676,512 positions, three quarters of them in conv1_1, and 611,584 entries
    against 7,776 cells of the map, so the hints rule all layers that they reach. `"mean"` takes the
    mean of each layer (matrix), then that of the layers (matrices), times the cells of the map: all
    layers weigh the same, and the hints are of the order of the hard loss at any size of crop. At
    576 x 864 the published weight of intra is divided by 87 (by 384 for conv1_1, by 6 for layers on
    the map's cells), that of inter by 79; at 256 x 256 by 87 and 597.

    `rate` is that of the 1 x 1 convolutions: they are random where a student may have learned.

    Both forms are means over the crops: the published code, made for batches of one, builds its
    matrices from the first crop alone.
    """

    roles = ("teacher",)

    def __init__(  # noqa: PLR0913  # each is said above
        self,
        loss: str = "",
        *,
        soft: float = 1.0,
        intra: float = 0.5,
        inter: float = 0.5,
        reduction: Literal["sum", "mean"] = "sum",
        layers: Sequence[str] | Mapping[str, str] = LAYERS,
        rate: float | None = None,
    ) -> None:
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise ConfigError(f"skt knows no reduction {reduction!r}: choose sum or mean")
        self.hard: Loss = LOSSES[loss]() if loss else _cells
        self.soft, self.intra, self.inter = soft, intra, inter
        self.reduction, self.rate = reduction, rate
        pairs = layers if isinstance(layers, Mapping) else {layer: layer for layer in layers}
        self.layers = dict(pairs)
        self.transforms = nn.ModuleDict()

    def meet(self, *, student: CountingNet, teachers: Mapping[str, CountingNet]) -> None:
        if not (self.intra or self.inter):
            return
        if "teacher" not in teachers:
            raise ConfigError(
                "skt wants hints of its teacher, and a bank holds none: set bank='', or intra=0 "
                "and inter=0"
            )
        narrow, wide = widths_of(student), widths_of(teachers["teacher"])
        missing = {*(self.layers.keys() - narrow), *(set(self.layers.values()) - wide.keys())}
        if missing:
            there = f"the student has {', '.join(narrow)}; the teacher has {', '.join(wide)}"
            raise ConfigError(f"skt finds no hint {', '.join(sorted(missing))}: {there}")
        for own, taught in self.layers.items():
            conv = nn.Conv2d(narrow[own], wide[taught], 1)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # on by default
            self.transforms[own] = nn.Sequential(conv, nn.ReLU())

    def terms(
        self, batch: Batch, *, student: CountingNet, lessons: Lessons, done: float
    ) -> dict[str, Tensor]:
        look, lesson = student.look(batch.frames_N3HW), lessons["teacher"]
        terms = over_labelled(self.hard(look, batch), batch)
        if self.soft:
            taught_N1hw = lesson.density_N1hw.float()
            error_N = squared(predicted=look.density_N1hw.float(), target=taught_N1hw)
            terms["soft"] = self.soft * error_N.mean()
        if self.intra or self.inter:
            terms |= self._hinted(look, lesson)
        return terms

    def _hinted(self, look: Look, lesson: Look) -> dict[str, Tensor]:
        ours = [self.transforms[layer](look.hints[layer]) for layer in self.layers]
        theirs = [lesson.hints[layer] for layer in self.layers.values()]
        terms, cells = {}, look.density_N1hw[0].numel()
        if self.intra:
            pairs = zip(ours, theirs, strict=True)
            apart = [pattern_gaps(student=student, teacher=teacher) for student, teacher in pairs]
            terms["intra"] = self.intra * self._over_crops(apart, cells)
        if self.inter:
            apart = relation_gaps(
                student=[*ours, look.density_N1hw], teacher=[*theirs, lesson.density_N1hw]
            )
            terms["inter"] = self.inter * self._over_crops(apart, cells)
        return terms

    def _over_crops(self, parts: Sequence[Tensor], cells: int) -> Tensor:
        """Every part begins with N."""
        if self.reduction == "sum":
            return torch.stack([part.sum() / len(part) for part in parts]).sum()
        return cells * torch.stack([part.mean() for part in parts]).mean()


def pattern_gaps(*, student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of the channels at each position (N, H', W'), in fp32: 0 to 1 after a ReLU.

    Where one of both has no active channel that is 1. Raises ConfigError for layers of different
    sizes.
    """
    if student.shape != teacher.shape:
        sizes = f"{tuple(student.shape[2:])} and {tuple(teacher.shape[2:])}"
        raise ConfigError(f"skt wants pairs of layers of one size, not of {sizes}: choose others")
    ours, theirs = student.float(), teacher.float()
    lengths: Tensor = vector_norm(ours, dim=1) * vector_norm(theirs, dim=1)
    # F.cosine_similarity would copy both sides first, twice the time where a layer is large
    return 1 - (ours * theirs).sum(dim=1) / lengths.clamp(min=TINY)


def relation_gaps(*, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[Tensor]:
    """Squared differences of the relations of every two layers, N x C x C a pair.

    The last of the layers is the density map: its cells are where relations are taken.
    """
    pairs = zip(relations(student), relations(teacher), strict=True)
    return [(ours - theirs).square() for ours, theirs in pairs]


def relations(layers: Sequence[Tensor]) -> list[Tensor]:
    """FSP matrices of every two layers, N x C x C a pair, in fp32.

    Entries are correlations of two channels over the cells of a crop; a channel that is the same
    everywhere has none (0).
    """
    shape_hw = layers[-1].shape[2:]
    with torch.autocast(layers[-1].device.type, enabled=False):
        flat = [_normalised(_on_cells(layer, shape_hw)) for layer in layers]
        return [a @ b.transpose(1, 2) / a.shape[2] for a, b in combinations(flat, 2)]


def _on_cells(layer: Tensor, shape_hw: torch.Size) -> Tensor:
    """Finer layers by max-pools that round up, as the pools of the net do; coarser ones repeat.

    Strides are powers of two, so of the sizes only the magnitude is needed, and odd ones fit.
    """
    ratio = max(-(-size // cells) for size, cells in zip(layer.shape[2:], shape_hw, strict=True))
    factor = 1 << (ratio - 1).bit_length()
    pooled = F.max_pool2d(layer, factor, ceil_mode=True) if factor > 1 else layer
    return pooled if pooled.shape[2:] == shape_hw else F.interpolate(pooled, size=shape_hw)


def _normalised(layer: Tensor) -> Tensor:
    """Instance normalisation: each channel of each crop has mean 0 and variance 1 (N, C, h * w)."""
    flat = layer.float().flatten(2)
    return F.layer_norm(flat, flat.shape[2:], eps=1e-5)


def _cells(look: Look, batch: Batch) -> dict[str, Tensor]:
    return {"cells": squared(predicted=look.density_N1hw.float(), target=batch.density_N1hw)}


method = Skt
