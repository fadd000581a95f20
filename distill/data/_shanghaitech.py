"""ShanghaiTech, parts A and B (Zhang et al., Single-Image Crowd Counting, CVPR 2016).

    part_A/train_data/images/IMG_1.jpg           or part_A_final/...
    part_A/train_data/ground_truth/GT_IMG_1.mat  or ground-truth/...

and the same under test_data and for part_B. Points outside the picture are kept as published.
"""

from collections.abc import Sequence
from pathlib import Path

from distill.data import Points, Sample
from distill.data._layout import existing, folder_of, heads, mat, ordered, pairs, reading

FOLDERS = {"train": "train_data", "test": "test_data"}


def read_part(part: str, root: Path, split: str) -> Sequence[Sample]:
    name = f"ShanghaiTech part {part}"
    folder = folder_of(split, FOLDERS, of=name)
    home = existing(root / f"part_{part}", root / f"part_{part}_final", wanted=name, see=__name__)
    truth = existing(
        home / folder / "ground_truth",
        home / folder / "ground-truth",
        wanted=f"the annotations of {name}",
        see=__name__,
    )
    found = pairs(home / folder / "images/IMG_*.jpg", truth / "GT_IMG_*.mat", see=__name__)
    return ordered(
        Sample(f"sh{part.lower()}_{split}_{number:03d}", picture, _points(annotation))
        for number, picture, annotation in found
    )


def _points(path: Path) -> Points:
    with reading(path):
        location = mat(path)["image_info"][0][0][0][0][0]
    return heads(location, path)
