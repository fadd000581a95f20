"""Our own layout, with any set's pictures in it; a split is a folder.

    train/images/ID.jpg
    train/points.npz            ID to float32 P x 2
    train/index.csv             id, width, height, count, dropped_points, sha256

A picture without people may be absent from points.npz. Points are kept as packed, duplicates and
points outside the picture included. The sha256 is for whoever packs: it is not checked here.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.data import DataSet, Sample
from distill.data._layout import existing, heads, ordered, reading
from models.errors import DataError


def read(root: Path, split: str) -> Sequence[Sample]:
    index, arrays = root / split / "index.csv", root / split / "points.npz"
    if not index.is_file():
        splits = sorted(path.parent.name for path in root.glob("*/index.csv"))
        there = f"it has {', '.join(splits)}" if splits else f"see the layout in {__name__}"
        raise DataError(f"{index} is missing: {root} has no split {split!r}; {there}")
    with reading(index):
        rows = list(csv.DictReader(index.read_text("utf-8").splitlines()))
        counts = {row["id"]: int(row["count"]) for row in rows}
    if not counts or len(counts) != len(rows):
        raise DataError(f"{index} has {len(rows)} rows and {len(counts)} ids: wanted one row each")
    existing(arrays, wanted=f"the points of {index}", see=__name__)
    with reading(arrays), arrays.open("rb") as file, np.load(file) as packed:
        return ordered(_sample(root / split, name, counts[name], packed) for name in counts)


def _sample(folder: Path, name: str, count: int, packed: Mapping[str, Any]) -> Sample:
    arrays = folder / "points.npz"
    if name not in packed and count:
        raise DataError(f"{arrays} has no {name!r}: wanted its {count} points; pack it again")
    points_P2 = heads(packed.get(name, ()), arrays)
    if len(points_P2) != count:
        raise DataError(f"{arrays} has {len(points_P2)} points of {name!r}, index.csv says {count}")
    picture = existing(folder / f"images/{name}.jpg", wanted=f"picture {name!r}", see=__name__)
    return Sample(name, picture, points_P2)


dataset: DataSet = read
