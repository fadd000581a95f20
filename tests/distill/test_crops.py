from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.crops import AHEAD, Crop, CropMaker, Crops, mixed, samples_of
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


def _painted(seed: int, *, labelled: bool = True) -> Crop:
    """A crop of 70 px in one colour, which no other has, with a dot of another at each head."""
    rng = np.random.default_rng(seed)
    image_HW3 = np.full((70, 70, 3), 10 * seed, np.uint8)
    cells_P = rng.choice(70 * 70, size=seed + 1, replace=False)
    columns_P, rows_P = cells_P % 70, cells_P // 70
    image_HW3[rows_P, columns_P] = 10 * seed + 5
    points_P2 = np.stack([columns_P, rows_P], axis=1).astype(np.float32) + 0.5
    return Crop(image_HW3, points_P2 if labelled else points_P2[:0], labelled)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_mixed_crop_has_exactly_the_heads_that_are_seen_in_it(seed: int) -> None:
    crops = [_painted(n) for n in (7, 2, 5)]
    for crop, of in zip(mixed(crops, np.random.default_rng(seed), share=1.0), crops, strict=True):
        dots_HW = crop.image_HW3[:, :, 0] % 10 == 5
        columns_P, rows_P = crop.points_P2.astype(int).T
        assert dots_HW.sum() == len(crop.points_P2)
        assert dots_HW[rows_P, columns_P].all()
        assert not np.array_equal(crop.image_HW3, of.image_HW3)


def test_a_crop_that_holds_a_part_without_labels_has_no_label() -> None:
    crops = [_painted(5), _painted(3, labelled=False)]
    for crop in mixed(crops, np.random.default_rng(0), share=1.0):
        assert not crop.labelled
        assert len(crop.points_P2) == 0


def test_no_more_than_the_share_of_crops_is_mixed() -> None:
    crops = [_painted(n) for n in range(10)] * 40
    made = mixed(crops, np.random.default_rng(0), share=0.25)
    changed = sum(one is not other for one, other in zip(made, crops, strict=True))
    assert changed == pytest.approx(100, abs=25)
    assert all(
        a is b for a, b in zip(mixed(crops, np.random.default_rng(0), share=0), crops, strict=True)
    )


def test_a_crop_without_a_neighbour_is_mixed_with_itself() -> None:
    (crop,) = mixed([_painted(4)], np.random.default_rng(0), share=1.0)
    assert np.array_equal(crop.image_HW3, _painted(4).image_HW3)


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
