import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.augment import Augmentation
from distill.data import Image, Points

PLAIN = Augmentation(crop_px=64, scale=(1.0, 1.0), flip=0, grey=0, colour=0)
DARK, BRIGHT = 20, 230


def _spotted(size: tuple[int, int], seed: int) -> tuple[Image, Points]:
    """A dark picture with a bright spot of 9 x 9 pixels around every head."""
    rng = np.random.default_rng(seed)
    image_HW3 = np.full((*size, 3), DARK, np.uint8)
    points_P2 = (rng.random((6, 2)) * (size[1], size[0])).astype(np.float32)
    for x, y in points_P2.astype(int):
        image_HW3[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = BRIGHT
    return image_HW3, points_P2


sizes = st.tuples(st.integers(40, 300), st.integers(40, 300))
seeds = st.integers(0, 2**32 - 1)


@given(size=sizes, seed=seeds)
def test_a_head_stays_on_its_pixel_whatever_is_cropped_scaled_and_flipped(
    size: tuple[int, int], seed: int
) -> None:
    augment = Augmentation(crop_px=64, grey=0, colour=0)
    image, points_P2 = augment(*_spotted(size, seed), np.random.default_rng(seed))
    columns, rows = points_P2.astype(int).clip(0, 63).T
    assert (image[rows, columns] > (DARK + BRIGHT) / 2).all()


@given(size=sizes, seed=seeds)
def test_a_crop_is_square_rgb_in_one_piece_and_its_heads_are_inside(
    size: tuple[int, int], seed: int
) -> None:
    augment = Augmentation(crop_px=64)
    image, points_P2 = augment(*_spotted(size, seed), np.random.default_rng(seed))
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert points_P2.dtype == np.float32
    assert ((points_P2 >= 0) & (points_P2 <= 64)).all()


@given(seed=seeds)
def test_a_crop_is_a_pure_function_of_the_generator(seed: int) -> None:
    picture = _spotted((120, 160), 0)
    augment = Augmentation(crop_px=64)
    (a, heads_a), (b, heads_b) = (augment(*picture, np.random.default_rng(seed)) for _ in "ab")
    assert np.array_equal(a, b)
    assert np.array_equal(heads_a, heads_b)


def test_a_picture_of_the_crop_s_size_stays_as_it_is_and_keeps_every_head() -> None:
    image, points_P2 = _spotted((64, 64), 1)
    crop, heads_P2 = PLAIN(image, points_P2, np.random.default_rng(0))
    assert np.array_equal(crop, image)
    assert np.array_equal(heads_P2, points_P2)


def test_a_small_picture_is_enlarged_and_loses_nobody() -> None:
    image, points_P2 = _spotted((32, 32), 2)
    crop, heads_P2 = PLAIN(image, points_P2, np.random.default_rng(0))
    assert crop.shape == (64, 64, 3)
    assert np.allclose(heads_P2, points_P2 * 2)


def test_a_flip_mirrors_picture_and_heads() -> None:
    image, points_P2 = _spotted((64, 64), 3)
    flip = Augmentation(crop_px=64, scale=(1.0, 1.0), flip=1, grey=0, colour=0)
    crop, heads_P2 = flip(image, points_P2, np.random.default_rng(0))
    assert np.array_equal(crop, image[:, ::-1])
    assert np.allclose(heads_P2, [64, 0] + points_P2 * [-1, 1])


def test_grey_makes_the_three_channels_equal_and_colour_moves_no_head() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    points_P2 = np.array([[10, 20]], np.float32)
    grey = Augmentation(crop_px=64, scale=(1.0, 1.0), flip=0, grey=1, colour=0)
    crop, _ = grey(image, points_P2, np.random.default_rng(0))
    assert (crop == crop[:, :, :1]).all()
    colour = Augmentation(crop_px=64, scale=(1.0, 1.0), flip=0, grey=0, colour=1)
    crop, heads_P2 = colour(image, points_P2, np.random.default_rng(0))
    assert not np.array_equal(crop, image)
    assert np.array_equal(heads_P2, points_P2)


def test_recolouring_keeps_the_order_of_brightness() -> None:
    ramp_HW3 = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 4, 64, axis=0)
    colour = Augmentation(crop_px=64, scale=(1.0, 1.0), flip=0, grey=0, colour=1)
    for seed in range(20):
        crop, _ = colour(
            np.repeat(ramp_HW3, 3, axis=2),
            np.zeros((0, 2), np.float32),
            np.random.default_rng(seed),
        )
        assert (np.diff(crop.astype(int), axis=1) >= 0).all()


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_scale_makes_people_larger_or_smaller(scale: float) -> None:
    points_P2 = np.array([[100, 100], [110, 100]], np.float32)
    augment = Augmentation(crop_px=64, scale=(scale, scale), flip=0, grey=0, colour=0)
    for seed in range(200):
        image = np.zeros((200, 200, 3), np.uint8)
        _, heads_P2 = augment(image, points_P2, np.random.default_rng(seed))
        if len(heads_P2) == 2:
            assert heads_P2[1, 0] - heads_P2[0, 0] == pytest.approx(10 * scale)
            return
    pytest.fail("no crop of 200 held both heads")


def test_a_native_crop_is_a_window_of_the_picture_pixel_for_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    native = Augmentation(crop_px=64, native=1, flip=0, grey=0, colour=0)
    crop, heads_P2 = native(image, np.array([[60, 50]], np.float32), np.random.default_rng(0))
    left, top = (np.array([60, 50]) - heads_P2[0]).astype(int)
    assert np.array_equal(crop, image[top : top + 64, left : left + 64])


def test_as_many_crops_are_native_as_were_asked_for() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    heads_P2 = np.array([[150, 150], [151, 150]], np.float32)
    half = Augmentation(crop_px=256, scale=(0.9, 0.95), native=0.5, flip=0, grey=0, colour=0)
    seen = [half(image, heads_P2, np.random.default_rng(seed))[1] for seed in range(400)]
    apart = np.array([heads[1, 0] - heads[0, 0] for heads in seen])
    assert (apart == 1).mean() == pytest.approx(0.5, abs=0.08)


def test_a_harsh_crop_keeps_its_heads_and_is_each_learned_corruption_now_and_then() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    heads_P2 = np.array([[10, 20]], np.float32)
    harsh = Augmentation(crop_px=64, scale=(1, 1), flip=0, grey=0, colour=0, harsh=1)
    light = []
    for seed in range(60):
        crop, kept_P2 = harsh(image, heads_P2, np.random.default_rng(seed))
        assert crop.shape == image.shape
        assert crop.dtype == np.uint8
        assert np.array_equal(kept_P2, heads_P2)
        light.append(crop.mean() / image.mean())
    assert min(light) < 0.6  # night
    assert max(light) > 1.2  # haze


@pytest.mark.parametrize("worse", [{"blur": 1.0}, {"jpeg": 1.0}])
def test_a_poor_picture_loses_detail_and_keeps_its_light_and_its_heads(
    worse: dict[str, float],
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    heads_P2 = np.array([[10, 20]], np.float32)
    poor = Augmentation(crop_px=64, scale=(1, 1), flip=0, grey=0, colour=0, **worse)
    for seed in range(20):
        crop, kept_P2 = poor(image, heads_P2, np.random.default_rng(seed))
        assert crop.astype(float).std() < image.astype(float).std()
        assert crop.mean((0, 1)) == pytest.approx(image.mean((0, 1)), rel=0.05)
        assert np.array_equal(kept_P2, heads_P2)
