"""ShanghaiTech part B: streets of Shanghai, 1024 x 768. The layout is in `_shanghaitech.py`."""

from collections.abc import Sequence
from pathlib import Path

from distill.data import DataSet, Sample
from distill.data._shanghaitech import read_part


def read(root: Path, split: str) -> Sequence[Sample]:
    return read_part("B", root, split)


dataset: DataSet = read
