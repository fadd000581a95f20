"""A picture cut into what the engine is fed, and its density map put together again.

Shapes: H x W pixels, h x w cells. Cameras' frames are one piece; large posted pictures are several.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deploy.bundle import InputRule
from models.density import Map
from models.geometry import Letterbox, Tile, pad, stitch, tiles, up_to

Image = NDArray[np.uint8]

TILE_PX = 1152  # the longest side the engine is given: pictures up to this are seen in one piece
MARGIN_PX = 64


@dataclass(frozen=True)
class Piece:
    """A padded part of a picture, and where its cells belong."""

    tile: Tile
    box: Letterbox
    image_HW3: Image


@dataclass(frozen=True)
class Pieces:
    """All of one picture. `size` is what is counted: the picture's own, or smaller."""

    size: tuple[int, int]
    pieces: tuple[Piece, ...]

    def join(self, maps: Iterable[Map], stride: int) -> Map:
        """The density map of the whole picture from the maps of its pieces, in their order."""
        parts = [
            (piece.tile, piece.box.crop(density_hw, stride))
            for piece, density_hw in zip(self.pieces, maps, strict=True)
        ]
        return stitch(parts, size=self.size, stride=stride)


def scaled_down(image_HW3: Image, max_side: int) -> Image:
    """The picture itself where no side is longer; else an average of its pixels."""
    height, width = image_HW3.shape[:2]
    size = Letterbox.fit((height, width), box=(max_side, max_side), multiple=1).scaled
    if size == (height, width):
        return image_HW3
    return cv2.resize(image_HW3, size[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def cut(
    image_HW3: Image,
    rule: InputRule,
    *,
    max_side: int | None = None,
    tile_px: int = TILE_PX,
    coarse: int = 1,
) -> Pieces:
    """Scale down to `max_side` (averaging), tile, and pad to the bundle's multiple.

    `coarse` multiplies that multiple: fewer sizes for the engine to prepare, a bit more to count.
    """
    if max_side:
        image_HW3 = scaled_down(image_HW3, max_side)
    size = (image_HW3.shape[0], image_HW3.shape[1])
    step = rule.multiple * coarse
    pieces = []
    for tile in tiles(size, side=tile_px, margin=MARGIN_PX, stride=rule.multiple):
        view = image_HW3[tile.view]
        shape = (view.shape[0], view.shape[1])
        box = Letterbox(shape, (up_to(shape[0], step), up_to(shape[1], step)))
        pieces.append(Piece(tile, box, pad(view, box.padded)))
    return Pieces(size, tuple(pieces))
