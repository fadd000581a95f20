from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distill.crops import AHEAD, CropMaker, Crops, samples_of
from distill.recipes import Fold, Part, Recipe
from models.density import count
from models.errors import ConfigError, DataError

HERE = Path()


def _same(a: Crops, b: Crops) -> bool:
    return (
        torch.equal(a.frames_NHW3, b.frames_NHW3)
        and torch.equal(a.heads_N1hw, b.heads_N1hw)
        and torch.equal(a.density_N1hw, b.density_N1hw)
    )


def test_a_batch_is_a_pure_function_of_seed_and_step(tiny: Recipe) -> None:
    maker, other = (CropMaker.of(tiny, data=HERE, stride=8) for _ in range(2))
    maker.batch(0)  # what was made before does not matter
    assert _same(maker.batch(3), other.batch(3))
    assert not _same(maker.batch(3), maker.batch(4))
    seeded = CropMaker.of(replace(tiny, seed=1), data=HERE, stride=8)
    assert not _same(maker.batch(3), seeded.batch(3))


@pytest.mark.parametrize("steps", [range(0), range(2), range(5, 5 + 2 * AHEAD)])
def test_batches_made_ahead_are_those_of_the_steps_in_order(tiny: Recipe, steps: range) -> None:
    maker = CropMaker.of(tiny, data=HERE, stride=8)
    ahead = list(maker.ahead(steps))
    assert len(ahead) == len(steps)
    assert all(_same(got, maker.batch(step)) for got, step in zip(ahead, steps, strict=True))


def test_both_targets_of_a_crop_hold_the_same_people(tiny: Recipe) -> None:
    crops = CropMaker.of(tiny, data=HERE, stride=8).batch(0)
    assert crops.frames_NHW3.shape == (2, 64, 64, 3)
    assert crops.frames_NHW3.dtype == torch.uint8
    assert crops.heads_N1hw.shape == crops.density_N1hw.shape == (2, 1, 8, 8)
    for heads, density in zip(crops.heads_N1hw, crops.density_N1hw, strict=True):
        assert count(heads.numpy()) == int(heads.sum())
        assert count(density.numpy()) == pytest.approx(count(heads.numpy()), abs=1e-3)


def test_a_part_of_no_weight_gives_no_crop(tiny: Recipe, packed: Path) -> None:
    """The pictures of the pack are black, the plaza is not."""
    both = (Part("plaza", "smoke"), Part("pack", "val", weight=0))
    maker = CropMaker.of(replace(tiny, train=both), data=packed, stride=8)
    frames = [crops.frames_NHW3 for crops in maker.ahead(range(6))]
    assert all((frame.amax() > 0).all() for frame in torch.cat(frames))


def test_the_held_fold_and_the_train_fold_share_no_picture_and_leave_none_out(
    packed: Path,
) -> None:
    folds: tuple[Fold, ...] = ("all", "train", "held")
    whole, train, held = (
        [sample.id for sample in samples_of(Part("pack", "val", fold=fold), packed)]
        for fold in folds
    )
    assert sorted(train + held) == sorted(whole)
    assert held == ["sha_07", "shb_05"]


def test_a_prefix_picks_ids(packed: Path) -> None:
    picked = samples_of(Part("pack", "val", prefix="shb_"), packed)
    assert [sample.id for sample in picked] == [f"shb_{number:02}" for number in range(10)]


def test_a_part_without_a_picture_is_an_error_that_names_it(packed: Path) -> None:
    with pytest.raises(DataError, match="nobody_"):
        samples_of(Part("pack", "val", prefix="nobody_"), packed)
    with pytest.raises(ConfigError, match="no 'moon'"):
        samples_of(Part("moon", "val"), packed)
