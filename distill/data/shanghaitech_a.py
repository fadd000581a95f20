"""ShanghaiTech part A: crowds from the web, sizes differ. The layout is in `_shanghaitech.py`."""

from collections.abc import Sequence
from pathlib import Path

from distill.data import DataSet, Sample
from distill.data._shanghaitech import read_part


def read(root: Path, split: str) -> Sequence[Sample]:
    return read_part("A", root, split)


dataset: DataSet = read
