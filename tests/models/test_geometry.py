import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.density import Map, cells
from models.geometry import Letterbox, Size, cell_mask, pad, stitch, tiles, up_to

sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000))
boxes = st.tuples(st.integers(2, 60), st.integers(2, 60))  # in multiples
multiples = st.sampled_from([8, 16, 32])


@given(size=sizes, box=boxes, multiple=multiples)
def test_a_letterbox_fits_the_box_and_the_multiple(size: Size, box: Size, multiple: int) -> None:
    box = (box[0] * multiple, box[1] * multiple)
    letterbox = Letterbox.fit(size, box=box, multiple=multiple)
    for scaled, padded, most in zip(letterbox.scaled, letterbox.padded, box, strict=True):
        assert 1 <= scaled <= padded <= most
        assert padded % multiple == 0
        assert padded - scaled < multiple


@given(size=sizes, box=boxes)
def test_a_letterbox_keeps_the_shape_to_a_pixel_and_touches_the_box_or_the_picture(
    size: Size, box: Size
) -> None:
    box = (box[0] * 16, box[1] * 16)
    scaled = Letterbox.fit(size, box=box, multiple=16).scaled
    scale = min(box[0] / size[0], box[1] / size[1], 1.0)
    for got, side in zip(scaled, size, strict=True):
        assert abs(got - side * scale) <= 0.5 or got == 1
    assert scaled == size if scale == 1 else any(a == b for a, b in zip(scaled, box, strict=True))


@given(size=sizes, stride=st.sampled_from([8, 16]))
def test_a_letterbox_crops_a_map_to_the_cells_that_cover_the_picture(
    size: Size, stride: int
) -> None:
    letterbox = Letterbox.fit(size, box=(512, 512), multiple=32)
    padded_hw = np.zeros([side // stride for side in letterbox.padded], np.float32)
    covering = tuple(cells(side, stride) for side in letterbox.scaled)
    assert letterbox.crop(padded_hw, stride).shape == covering


def test_a_small_picture_is_not_enlarged() -> None:
    assert Letterbox.fit((90, 160), box=(360, 640), multiple=16).scaled == (90, 160)


def test_padding_repeats_the_last_row_and_column() -> None:
    image_HW3 = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    padded_HW3 = pad(image_HW3, (4, 5))
    assert np.array_equal(padded_HW3[:2, :3], image_HW3)
    assert (padded_HW3[:, 3:] == padded_HW3[:, 2:3]).all()
    assert (padded_HW3[2:] == padded_HW3[1:2]).all()
    assert pad(image_HW3, (2, 3)) is image_HW3


cuts = st.fixed_dictionaries(
    {
        "side": st.integers(100, 700),
        "margin": st.integers(0, 48),
        "stride": st.sampled_from([4, 8, 16]),
    }
)


@given(size=sizes, cut=cuts)
def test_the_cores_of_the_tiles_hold_every_pixel_and_every_cell_once(
    size: Size, cut: dict[str, int]
) -> None:
    stride = cut["stride"]
    pixels_HW = np.zeros(size, np.uint8)
    cells_hw = np.zeros([cells(side, stride) for side in size], np.uint8)
    for tile in tiles(size, **cut):
        pixels_HW[tile.core] += 1
        rows, columns = (slice(c.start // stride, cells(c.stop, stride)) for c in tile.core)
        cells_hw[rows, columns] += 1
    assert (pixels_HW == 1).all()
    assert (cells_hw == 1).all()


@given(size=sizes, cut=cuts)
def test_a_view_holds_its_core_and_its_margin_and_starts_on_a_whole_cell(
    size: Size, cut: dict[str, int]
) -> None:
    for tile in tiles(size, **cut):
        for core, view, length in zip(tile.core, tile.view, size, strict=True):
            assert view.start % cut["stride"] == 0
            assert view.start <= max(0, core.start - cut["margin"])
            assert view.stop >= min(length, core.stop + cut["margin"])
            assert view.stop - view.start <= cut["side"] + 4 * cut["stride"]


@given(size=sizes, cut=cuts, seed=st.integers(0, 9))
def test_stitching_the_tiles_of_a_map_gives_the_map_back(
    size: Size, cut: dict[str, int], seed: int
) -> None:
    stride = cut["stride"]
    shape_hw = (cells(size[0], stride), cells(size[1], stride))
    whole_hw = np.random.default_rng(seed).random(shape_hw, dtype=np.float32)

    def seen(view: tuple[slice, slice]) -> Map:
        rows, columns = (slice(v.start // stride, cells(v.stop, stride)) for v in view)
        return whole_hw[rows, columns]

    parts = [(tile, seen(tile.view)) for tile in tiles(size, **cut)]
    assert np.array_equal(stitch(parts, size=size, stride=stride), whole_hw)


def test_a_picture_that_fits_is_one_tile() -> None:
    (tile,) = tiles((480, 640), side=640, margin=64, stride=8)
    assert tile.core == tile.view == (slice(0, 480), slice(0, 640))


share = st.floats(0.01, 0.99)
shapes_hw = st.tuples(st.integers(1, 12), st.integers(1, 12))


@given(
    centre=st.tuples(share, share),
    edges=st.lists(st.tuples(st.integers(0, 3), share), max_size=8, unique=True),
    shape_hw=shapes_hw,
)
def test_masks_of_polygons_that_tile_the_picture_add_up_to_one(
    centre: tuple[float, float], edges: list[tuple[int, float]], shape_hw: Size
) -> None:
    """A fan of triangles from any centre to any points around the border."""
    around = sorted({(side, 0.0) for side in range(4)} | set(edges))
    sides = [(1, 0, 0, 0), (0, 1, 1, 0), (-1, 0, 1, 1), (0, -1, 0, 1)]  # dx, dy, x, y
    border = [(sides[i][2] + sides[i][0] * t, sides[i][3] + sides[i][1] * t) for i, t in around]
    masks = [
        cell_mask([centre, a, b], shape_hw=shape_hw)
        for a, b in zip(border, [*border[1:], border[0]], strict=True)
    ]
    assert np.array_equal(np.sum(masks, axis=0), np.ones(shape_hw))


@given(shape_hw=shapes_hw, x=share, y=share)
def test_a_mask_has_the_area_of_its_rectangle_to_a_sample(
    shape_hw: Size, x: float, y: float
) -> None:
    mask_hw = cell_mask([(0, 0), (x, 0), (x, y), (0, y)], shape_hw=shape_hw, samples=16)
    assert float(mask_hw.mean()) == pytest.approx(x * y, abs=1 / 16)


@given(shape_hw=shapes_hw, corners=st.lists(st.tuples(share, share), min_size=3, max_size=7))
def test_a_mask_does_not_depend_on_the_way_round_or_the_first_corner(
    shape_hw: Size, corners: list[tuple[float, float]]
) -> None:
    assume(len(set(corners)) > 2)
    mask_hw = cell_mask(corners, shape_hw=shape_hw)
    assert np.array_equal(mask_hw, cell_mask(corners[::-1], shape_hw=shape_hw))
    assert np.array_equal(mask_hw, cell_mask([*corners[1:], corners[0]], shape_hw=shape_hw))


def test_a_cell_that_is_half_inside_counts_half() -> None:
    mask_hw = cell_mask([(0.25, 0), (1, 0), (1, 1), (0.25, 1)], shape_hw=(1, 2))
    assert mask_hw.tolist() == [[0.5, 1.0]]


def test_the_next_multiple_of_a_multiple_is_itself() -> None:
    assert [up_to(size, 16) for size in (1, 15, 16, 17)] == [16, 16, 16, 32]
