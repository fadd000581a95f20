"""A picture in pieces loses and doubles nobody."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.density import Map, cells, count
from service.pieces import Pieces, cut
from tests.fakes import RULE, STRIDE, brightness, solid

side = st.integers(1, 700)


def ones(pieces: Pieces) -> list[Map]:
    """One person in every cell of every padded piece."""
    return [
        np.ones([length // STRIDE for length in one.image_HW3.shape[:2]], dtype=np.float32)
        for one in pieces.pieces
    ]


@given(side, side, st.sampled_from([256, 320, 512]), st.sampled_from([1, 4]))
def test_one_person_a_cell_stays_one_a_cell(
    height: int, width: int, tile_px: int, coarse: int
) -> None:
    pieces = cut(solid(0, (height, width)), RULE, tile_px=tile_px, coarse=coarse)
    joined = pieces.join(ones(pieces), STRIDE)
    assert joined.shape == (cells(height, STRIDE), cells(width, STRIDE))
    assert (joined == 1).all()


@given(side, side)
def test_every_piece_is_what_the_engine_takes(height: int, width: int) -> None:
    for piece in cut(solid(0, (height, width)), RULE, tile_px=256).pieces:
        assert piece.image_HW3.shape[0] % RULE.multiple == 0
        assert piece.image_HW3.shape[1] % RULE.multiple == 0
        assert piece.image_HW3.dtype == np.uint8


@given(side, side)
def test_what_stands_in_a_place_is_counted_in_that_place(height: int, width: int) -> None:
    image = np.random.default_rng(height * width).integers(0, 255, (height, width, 3), np.uint8)
    whole, parts = cut(image, RULE, tile_px=1152), cut(image, RULE, tile_px=256)
    maps = [
        pieces.join([brightness(one.image_HW3[None])[0] for one in pieces.pieces], STRIDE)
        for pieces in (whole, parts)
    ]
    assert len(whole.pieces) == 1
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 16), (1, 16384), (2049, 2048)])
def test_a_picture_beyond_the_longest_side_is_scaled_down_whole(size: tuple[int, int]) -> None:
    pieces = cut(solid(80, size), RULE, max_side=2048)
    assert max(pieces.size) == 2048
    assert min(pieces.size) == max(1, round(min(size) * 2048 / max(size)))
    joined = pieces.join([brightness(one.image_HW3[None])[0] for one in pieces.pieces], STRIDE)
    assert count(joined) == pytest.approx(0.08 * joined.size, rel=1e-4)


def test_a_picture_within_the_longest_side_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    pieces = cut(image, RULE, max_side=64)
    assert pieces.size == (48, 64)
    np.testing.assert_array_equal(pieces.pieces[0].image_HW3, image)


def test_coarse_pads_to_few_sizes() -> None:
    sizes = {
        cut(solid(0, (height, 100)), RULE, coarse=4).pieces[0].image_HW3.shape
        for height in range(65, 129)
    }
    assert sizes == {(128, 128, 3)}
