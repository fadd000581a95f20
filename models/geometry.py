"""From a picture to the engine's input and from its cells back: letterbox, tiles, cell masks.

Shapes: H x W pixels, h x w cells, s pixels per cell. Sizes are (height, width) everywhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.density import Map, cells

Size = tuple[int, int]


def up_to(size_px: int, multiple: int) -> int:
    """The next multiple at or above `size_px`."""
    return cells(size_px, multiple) * multiple


@dataclass(frozen=True)
class Letterbox:
    """A picture scaled into a box with its shape kept, then padded right and below.

    `scaled` is the picture's size in the input, `padded` the input's size.
    """

    scaled: Size
    padded: Size

    @classmethod
    def fit(cls, size: Size, *, box: Size, multiple: int) -> "Letterbox":
        """The largest size of the picture's shape within `box`, padded to whole `multiple`s.

        A picture is never enlarged: pixels that no camera saw would cost time and tell nothing.
        """
        scale = min(box[0] / size[0], box[1] / size[1], 1.0)
        height, width = (max(1, round(side * scale)) for side in size)
        return cls((height, width), (up_to(height, multiple), up_to(width, multiple)))

    def crop(self, density_hw: Map, stride: int) -> Map:
        """The cells that cover the picture, without those that lie wholly in the padding."""
        return density_hw[: cells(self.scaled[0], stride), : cells(self.scaled[1], stride)]


def pad(image_HW3: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Repeat the last row and column until the picture has `size`: no false edge for the net."""
    down, right = size[0] - image_HW3.shape[0], size[1] - image_HW3.shape[1]
    if not down and not right:
        return image_HW3
    return np.pad(image_HW3, ((0, down), (0, right), (0, 0)), mode="edge")


@dataclass(frozen=True)
class Tile:
    """A part of a large picture: `core` is what it answers for, `view` what the net is shown."""

    core: tuple[slice, slice]
    view: tuple[slice, slice]

    def take(self, density_hw: Map, stride: int) -> Map:
        """The cells of the core out of the view's density map."""
        rows, columns = (
            slice((core.start - view.start) // stride, cells(core.stop - view.start, stride))
            for core, view in zip(self.core, self.view, strict=True)
        )
        return density_hw[rows, columns]


def tiles(size: Size, *, side: int, margin: int, stride: int) -> list[Tile]:
    """Cut a picture so that no view is longer than about `side` and each pixel has one core.

    Cores start on whole cells, so putting their maps side by side loses and doubles nobody. A view
    reaches `margin` pixels beyond its core where there is picture: context for heads at the seam.
    """
    rows, columns = (list(_cuts(length, side, margin, stride)) for length in size)
    return [
        Tile(core=(row[0], column[0]), view=(row[1], column[1]))
        for row in rows
        for column in columns
    ]


def _cuts(length: int, side: int, margin: int, stride: int) -> Iterator[tuple[slice, slice]]:
    if length <= side:
        yield slice(0, length), slice(0, length)
        return
    parts = cells(length, side - 2 * margin)
    step = up_to(cells(length, parts), stride)
    reach = up_to(margin, stride)
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield slice(start, stop), slice(max(0, start - reach), min(length, stop + reach))


def stitch(maps: Sequence[tuple[Tile, Map]], *, size: Size, stride: int) -> Map:
    """One density map of the whole picture from each tile's view."""
    whole_hw = np.zeros((cells(size[0], stride), cells(size[1], stride)), dtype=np.float32)
    for tile, density_hw in maps:
        part_hw = tile.take(density_hw, stride)
        row, column = tile.core[0].start // stride, tile.core[1].start // stride
        whole_hw[row : row + part_hw.shape[0], column : column + part_hw.shape[1]] = part_hw
    return whole_hw


def cell_mask(polygon: Sequence[tuple[float, float]], *, shape_hw: Size, samples: int = 8) -> Map:
    """The share of each cell that lies in a polygon of (x, y) corners in 0..1 of the picture.

    Even-odd rule on samples x samples points a cell: polygons that tile the picture have masks that
    add up to one everywhere, so their counts add up to the picture's.
    """
    h, w = shape_hw
    y_H1 = ((np.arange(h * samples) + 0.5) / (h * samples))[:, None]
    x_1W = ((np.arange(w * samples) + 0.5) / (w * samples))[None, :]
    inside_HW = np.zeros((h * samples, w * samples), dtype=bool)
    for corners in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        (xa, ya), (xb, yb) = sorted(corners)  # neighbours round their common edge alike
        if ya != yb:
            crosses_H1 = (ya <= y_H1) != (yb <= y_H1)
            inside_HW ^= crosses_H1 & (x_1W < xa + (y_H1 - ya) * (xb - xa) / (yb - ya))
    share_hw: Map = inside_HW.reshape(h, samples, w, samples).mean(axis=(1, 3), dtype=np.float32)
    return share_hw
