import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from distill.corruptions import CORRUPTIONS, night
from distill.data import Sample
from distill.data.plaza import dataset
from distill.robustness import AS_TAKEN, Corrupted, Held, robustness, save
from models.nets import CountingNet, Look
from models.spec import InputSpec


class Light(CountingNet):
    """Takes light for people: a person a white pixel."""

    spec = InputSpec(stride=8, multiple=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

    def encode(self, frames_N3HW: Tensor) -> dict[str, Tensor]:
        return {"latent": frames_N3HW.mean(1, keepdim=True)}

    def decode(self, latent_NChw: Tensor) -> Look:
        n, _, height, width = latent_NChw.shape
        cells = latent_NChw.reshape(n, 1, height // 8, 8, width // 8, 8)
        return Look(cells.sum((3, 5)), {})


@pytest.fixture(scope="module")
def pictures() -> Sequence[Sample]:
    return dataset(Path(), "smoke")


@pytest.fixture(scope="module")
def held(pictures: Sequence[Sample]) -> list[Held]:
    return robustness({"light": Light()}, {"plaza": pictures}, severity=3)


def test_every_corruption_is_counted_beside_the_pictures_as_taken(held: list[Held]) -> None:
    assert [one.corruption for one in held] == [AS_TAKEN, *CORRUPTIONS]
    counted = {one.corruption: one.counted for one in held}
    assert counted["night"] == pytest.approx(0.52 * counted[AS_TAKEN], rel=0.05)
    assert counted["haze"] > 1.1 * counted[AS_TAKEN]


def test_a_picture_is_corrupted_the_same_way_whenever_it_is_read(
    pictures: Sequence[Sample],
) -> None:
    dark = Corrupted.of(pictures[0], night, 3)
    assert np.array_equal(dark.read(), dark.read())
    assert not np.array_equal(dark.read(), pictures[0].read())


def test_the_page_has_a_row_a_corruption_and_two_columns_a_net(
    held: list[Held], tmp_path: Path
) -> None:
    data, page = save(held, severity=3, every=1, folder=tmp_path)
    rows = [line for line in page.read_text().splitlines() if line.startswith("| night")]
    night_held = next(one for one in held if one.corruption == "night")
    assert rows == [f"| night | {night_held.counted:.1f} | {night_held.scores.mae:.1f} |"]
    said = json.loads(data.read_text())
    assert len(said["held"]) == len(held)
    assert said["severity"] == 3
