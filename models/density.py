"""Density maps and head points. numpy only: the service imports this, and it has no torch.

Shapes: H x W pixels, h x w cells, s pixels per cell (h = ceil(H / s)), P head points (x, y in
pixels). A density map is people per cell, so a map sums to a count at any stride, and everything
here that touches one keeps its sum.
"""

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Points = NDArray[np.float32]


def cells(size_px: int, stride: int) -> int:
    """How many cells cover `size_px` pixels; the last one may be partly outside."""
    return -(-size_px // stride)


def splat(points_P2: Points, *, shape_hw: tuple[int, int], stride: int) -> Map:
    """One unit per head in the cell it lies in.

    Two heads in one cell count twice, and a head outside the picture counts in the nearest cell.
    """
    density_hw = np.zeros(shape_hw, dtype=np.float32)
    if len(points_P2):
        xy_P2 = np.floor(points_P2 / stride).astype(np.int64)
        np.add.at(density_hw, _inside(xy_P2[:, 1], xy_P2[:, 0], shape_hw), 1.0)
    return density_hw


def spread(points_P2: Points, *, shape_hw: tuple[int, int], stride: int) -> Map:
    """One unit per head, shared by the four cells around it and smoothed with a 3 x 3 binomial.

    The smooth target of the density loss: it does not jump when a head crosses a cell's border.
    """
    density_hw = np.zeros(shape_hw, dtype=np.float32)
    if len(points_P2):
        uv_P2 = np.asarray(points_P2, dtype=np.float32) / stride - 0.5
        low_P2 = np.floor(uv_P2).astype(np.int64)
        part_P2 = uv_P2 - low_P2
        for dx in (0, 1):
            for dy in (0, 1):
                weight_P = np.abs(1 - dx - part_P2[:, 0]) * np.abs(1 - dy - part_P2[:, 1])
                where = _inside(low_P2[:, 1] + dy, low_P2[:, 0] + dx, shape_hw)
                np.add.at(density_hw, where, weight_P)
    return smooth(density_hw)


def smooth(density_hw: Map) -> Map:
    """Blur with the 3 x 3 binomial kernel; mirrored borders give back what would leave the map."""
    for axis in (0, 1):
        pad = [(1, 1) if a == axis else (0, 0) for a in (0, 1)]
        wide = np.pad(density_hw, pad, mode="edge")
        n = density_hw.shape[axis]
        before, here, after = (np.take(wide, range(i, i + n), axis=axis) for i in (0, 1, 2))
        density_hw = 0.25 * before + 0.5 * here + 0.25 * after
    return density_hw


def count(density_hw: Map) -> float:
    """People in the map, summed in double precision."""
    return float(density_hw.sum(dtype=np.float64))


def _inside(
    rows_P: NDArray[np.int64], columns_P: NDArray[np.int64], shape_hw: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return rows_P.clip(0, shape_hw[0] - 1), columns_P.clip(0, shape_hw[1] - 1)
