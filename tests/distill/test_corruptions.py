import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.corruptions import CORRUPTIONS, LEARNED, WORST, haze, motion, night, noise
from distill.data import Image

each = pytest.mark.parametrize("name", CORRUPTIONS)


def _street(size_hw: tuple[int, int] = (96, 128)) -> Image:
    """Patches of a few colours, as large as heads."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(30, 220, (12, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def _away(name: str, severity: float) -> float:
    """How far a picture is from what it was, in levels."""
    street = _street().astype(float)
    corrupted = CORRUPTIONS[name](_street(), severity, np.random.default_rng(0))
    return float(np.abs(corrupted - street).mean())


@each
@given(size_hw=st.tuples(st.integers(1, 70), st.integers(1, 70)), severity=st.floats(0, WORST))
def test_a_corrupted_picture_is_rgb_of_eight_bits_and_of_its_own_size(
    name: str, size_hw: tuple[int, int], severity: float
) -> None:
    image = _street(size_hw)
    corrupted = CORRUPTIONS[name](image, severity, np.random.default_rng(0))
    assert corrupted.shape == image.shape
    assert corrupted.dtype == np.uint8


@each
def test_the_worse_the_further_from_the_picture(name: str) -> None:
    first, second, third = (_away(name, severity) for severity in (1, 3, 5))
    assert 0 < first < second < third


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"compression", "infrared"}))
def test_a_severity_of_0_leaves_the_picture_as_it_is(name: str) -> None:
    """A lamp of infrared has no colour and JPEG loses some, even at their best."""
    assert _away(name, 0) == 0


@each
def test_a_corruption_is_a_pure_function_of_the_generator(name: str) -> None:
    a, b = (CORRUPTIONS[name](_street(), 3, np.random.default_rng(7)) for _ in "ab")
    assert np.array_equal(a, b)


def test_a_night_is_darker_and_haze_is_brighter_with_less_contrast() -> None:
    street, rng = _street(), np.random.default_rng(0)
    assert night(street, WORST, rng).mean() < 0.3 * street.mean()
    hazy = haze(street, WORST, rng)
    assert hazy.mean() > street.mean()
    assert hazy.astype(float).std() == pytest.approx(0.3 * street.astype(float).std(), rel=0.05)


def test_noise_is_of_the_asked_strength() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert noise(grey, 2, np.random.default_rng(0)).std() == pytest.approx(12, rel=0.05)


def test_a_smear_spreads_a_dot_along_a_line_and_keeps_its_light() -> None:
    dot = np.zeros((41, 41, 3), np.uint8)
    dot[20, 20] = 255
    for seed in range(10):
        smeared = motion(dot, 4, np.random.default_rng(seed))[:, :, 0].astype(float)
        rows, columns = np.nonzero(smeared)
        assert smeared.sum() == pytest.approx(255, rel=0.05)
        across = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 6 <= across <= 9
        assert len(rows) <= 2 * across


def test_some_corruptions_are_kept_from_the_nets_that_learn_of_harsh_crops() -> None:
    assert {one.__name__ for one in LEARNED} < set(CORRUPTIONS)
