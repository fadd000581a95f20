from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill.data import Image, Sample
from distill.evaluate import Counted, counts_of, density_of, games_by_part, scores_by_part
from models.nets import CountingNet, Look
from models.spec import InputSpec


class OnePersonACell(CountingNet):
    """Sees one person in every cell, whatever it is shown."""

    spec = InputSpec(stride=8, multiple=32)

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        n, _, height, width = frames_N3HW.shape
        assert height % 32 == width % 32 == 0
        return {"latent": self.one.expand(n, 1, height // 8, width // 8)}

    def decode(self, latent_NChw: Tensor) -> Look:
        return Look(latent_NChw, {})


class Blank(Sample):
    """A picture that needs no disk."""

    def read(self) -> Image:
        return np.zeros((40, 56, 3), np.uint8)


def _blank(name: str, heads: int) -> Sample:
    return Blank(name, Path(name), np.zeros((heads, 2), np.float32))


@pytest.mark.parametrize(("size", "shape_hw"), [((64, 96), (8, 12)), ((33, 47), (5, 6))])
def test_a_map_has_the_cells_that_cover_the_picture_and_no_padding(
    size: tuple[int, int], shape_hw: tuple[int, int]
) -> None:
    density_hw = density_of(np.zeros((*size, 3), np.uint8), OnePersonACell())
    assert density_hw.shape == shape_hw
    assert density_hw.dtype == np.float32


def test_whole_pictures_are_counted_beside_their_heads() -> None:
    samples = [_blank("sha_1", 3), _blank("shb_2", 0)]
    counted = counts_of(samples, OnePersonACell())
    said = [(one.id, one.predicted, one.true) for one in counted]
    assert said == [("sha_1", 35.0, 3), ("shb_2", 35.0, 0)]


def test_people_in_the_wrong_place_are_errors_of_the_grid_and_not_of_the_count() -> None:
    """Ten heads in the first of 5 x 7 cells, and one person seen in each: 8 in that quarter."""
    counted = counts_of([_blank("sha_1", 10), _blank("sha_2", 10)], OnePersonACell())
    assert scores_by_part(counted)["sha"].mae == 25
    first, *finer = games_by_part(counted)["sha"]
    assert first == 2 + 27
    assert first < finer[0] < finer[1] < 10 + 35


@pytest.mark.parametrize(("scale", "cells"), [(0.5, 3 * 4), (1.0, 5 * 7), (2.0, 10 * 14)])
def test_a_picture_can_be_counted_at_another_size(scale: float, cells: int) -> None:
    (counted,) = counts_of([_blank("sha_1", 3)], OnePersonACell(), scale=scale)
    assert counted.predicted == cells


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_a_net_in_the_mode_it_was_in(*, training: bool) -> None:
    net = OnePersonACell().train(training)
    counts_of([_blank("a_1", 0)], net)
    assert net.training == training


def test_scores_are_told_apart_by_the_first_word_of_the_ids() -> None:
    counted = [Counted("sha_1", 12, 10), Counted("sha_2", 6, 10), Counted("plaza_1_5", 1, 1)]
    scores = scores_by_part(counted)
    assert {part: (score.pictures, score.mae) for part, score in scores.items()} == {
        "sha": (2, 3.0),
        "plaza": (1, 0.0),
    }
