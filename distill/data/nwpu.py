"""NWPU-Crowd (Wang et al., NWPU-Crowd, TPAMI 2020).

    images_part1/0001.jpg       to images_part5, or all pictures in images
    mats/0001.mat               annPoints, P x 2; or jsons/0001.json, points
    train.txt, val.txt          a line for a picture: id luminance level

The authors keep the points of the test split. Points outside the picture are kept as published.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from distill.data import DataSet, Points, Sample
from distill.data._layout import existing, folder_of, heads, mat, ordered, reading
from models.errors import DataError

LISTS = {"train": "train.txt", "val": "val.txt", "test": "test.txt"}


def read(root: Path, split: str) -> Sequence[Sample]:
    name = folder_of(split, LISTS, of="NWPU-Crowd")
    if split == "test":
        raise DataError(
            f"{root / name}: NWPU-Crowd publishes no annotation for its test split; use val"
        )
    listed = existing(root / name, wanted="the ids of the split", see=__name__)
    with reading(listed):
        ids = {line.split()[0] for line in listed.read_text("utf-8").splitlines() if line.strip()}
    if not ids:
        raise DataError(
            f"{listed} is empty: wanted an id on each line; see the layout in {__name__}"
        )
    parts = {path.stem: path for path in root.glob("images_part[1-5]/*.jpg")}
    return ordered(
        Sample(f"nwpu_{number}", _picture(root, number, parts), _points(root, number))
        for number in ids
    )


def _picture(root: Path, number: str, parts: Mapping[str, Path]) -> Path:
    part = parts.get(number, root / "images_part*" / f"{number}.jpg")
    return existing(part, root / f"images/{number}.jpg", wanted="the picture", see=__name__)


def _points(root: Path, number: str) -> Points:
    candidates = root / "mats" / f"{number}.mat", root / "jsons" / f"{number}.json"
    path = existing(*candidates, wanted=f"the points of picture {number}", see=__name__)
    with reading(path):
        published = mat(path) if path.suffix == ".mat" else json.loads(path.read_text("utf-8"))
        points = published["annPoints" if path.suffix == ".mat" else "points"]
    return heads(points, path)


dataset: DataSet = read
