"""UCF-QNRF (Idrees et al., Composition Loss, ECCV 2018).

    Train/img_0001.jpg
    Train/img_0001_ann.mat      annPoints, P x 2

and the same under Test. Points outside the picture are kept as published.
"""

from collections.abc import Sequence
from pathlib import Path

from distill.data import DataSet, Points, Sample
from distill.data._layout import folder_of, heads, mat, ordered, pairs, reading

FOLDERS = {"train": "Train", "test": "Test"}


def read(root: Path, split: str) -> Sequence[Sample]:
    folder = root / folder_of(split, FOLDERS, of="UCF-QNRF")
    return ordered(
        Sample(f"qnrf_{split}_{number:04d}", picture, _points(annotation))
        for number, picture, annotation in pairs(
            folder / "img_*.jpg", folder / "img_*_ann.mat", see=__name__
        )
    )


def _points(path: Path) -> Points:
    with reading(path):
        points = mat(path)["annPoints"]
    return heads(points, path)


dataset: DataSet = read
