"""Density over a picture, and what of the picture its privacy setting lets through."""

import io

import numpy as np
import pytest
from PIL import Image

from models.density import Map
from service.overlay import Preview, encode, overlay
from tests.fakes import STRIDE, solid

NOISE = np.random.default_rng(0).integers(0, 255, (97, 131, 3), np.uint8)
EMPTY: Map = np.zeros((13, 17), dtype=np.float32)


def test_an_empty_place_stays_as_it_is() -> None:
    drawn = overlay(NOISE, EMPTY, preview="clear", stride=STRIDE)
    np.testing.assert_allclose(drawn, NOISE, atol=1)


def test_people_are_coloured_where_they_are() -> None:
    density = EMPTY.copy()
    density[2, 3] = 1
    changed = overlay(solid(128, (97, 131)), density, preview="clear", stride=STRIDE) != 128
    rows, columns = np.nonzero(changed.any(axis=2))
    assert 16 <= rows.mean() <= 24
    assert 24 <= columns.mean() <= 32


def test_nothing_shows_nothing_of_the_picture() -> None:
    shown = [overlay(one, EMPTY, preview="none", stride=STRIDE) for one in (NOISE, NOISE[::-1])]
    np.testing.assert_array_equal(shown[0], shown[1])


def test_a_blurred_picture_keeps_no_detail() -> None:
    drawn = overlay(NOISE, EMPTY, preview="blur", stride=STRIDE).astype(float)
    assert np.abs(np.diff(drawn, axis=1)).max() < 12


@pytest.mark.parametrize("preview", ["none", "blur", "clear"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 9), (64, 64)])
def test_any_size_can_be_drawn(preview: Preview, size: tuple[int, int]) -> None:
    density = np.ones((-(-size[0] // STRIDE), -(-size[1] // STRIDE)), dtype=np.float32)
    drawn = overlay(solid(9, size), density, preview=preview, stride=STRIDE)
    assert drawn.shape == (*size, 3)
    assert drawn.dtype == np.uint8


def test_the_picture_that_came_in_is_not_drawn_upon() -> None:
    image = solid(128, (97, 131))
    overlay(image, EMPTY + 1, preview="clear", stride=STRIDE)
    assert (image == 128).all()


def test_a_png_is_exact_and_a_jpeg_close() -> None:
    picture = Image.open(io.BytesIO(encode(NOISE, "png")))
    np.testing.assert_array_equal(np.asarray(picture), NOISE)
    red = solid(0, (16, 16))
    red[..., 0] = 255
    picture = Image.open(io.BytesIO(encode(red, "jpeg")))
    assert picture.format == "JPEG"
    assert np.asarray(picture)[8, 8, 0] > 200 > 60 > np.asarray(picture)[8, 8, 2]
