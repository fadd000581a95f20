"""JHU-CROWD++ (Sindagi et al., JHU-CROWD++, TPAMI 2020).

    train/images/0001.jpg
    train/gt/0001.txt           a line for a head: x y w h occlusion blur

and the same under val and test. An empty text is a picture without people. Points outside the
picture are kept as published.
"""

from collections.abc import Sequence
from pathlib import Path

from distill.data import DataSet, Points, Sample
from distill.data._layout import folder_of, heads, ordered, pairs, reading

FOLDERS = {"train": "train", "val": "val", "test": "test"}
COLUMNS = 6


def read(root: Path, split: str) -> Sequence[Sample]:
    folder = root / folder_of(split, FOLDERS, of="JHU-CROWD++")
    return ordered(
        Sample(f"jhu_{number:04d}", picture, _points(annotation))
        for number, picture, annotation in pairs(
            folder / "images/*.jpg", folder / "gt/*.txt", see=__name__
        )
    )


def _points(path: Path) -> Points:
    with reading(path):
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        if any(len(row) != COLUMNS for row in rows):
            raise ValueError("wanted x y w h occlusion blur on each line")
        return heads([[float(x), float(y)] for x, y, *_ in rows], path)


dataset: DataSet = read
