"""What readers of published layouts share: finding files, and naming them when they are wrong.

P head points are kept as published: exact duplicates stay, and so do points outside the picture
(clip where they are used). Nothing here opens a picture.
"""

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from distill.data import Points, Sample
from models.errors import DataError

BROKEN = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, EOFError, NotImplementedError),
    *(MatReadError, zipfile.BadZipFile, zlib.error),
)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a broken file raises while it is read becomes a DataError that names it."""
    try:
        yield
    except BROKEN as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is not as published ({why}); fetch it again") from error


def folder_of(split: str, folders: Mapping[str, str], *, of: str) -> str:
    if split not in folders:
        raise DataError(f"{of} has no split {split!r}; it has {', '.join(folders)}")
    return folders[split]


def existing(*candidates: Path, wanted: str, see: str) -> Path:
    """The first of these paths that is there; `see` is the module whose top says the layout."""
    for path in candidates:
        if path.exists():
            return path
    others = "".join(f", and so is {path}" for path in candidates[1:])
    raise DataError(f"{candidates[0]} is missing{others}: wanted {wanted}; see the layout in {see}")


def pairs(picture: Path, annotation: Path, *, see: str) -> list[tuple[int, Path, Path]]:
    """Number, picture and annotation, by number; each path has one `*` where the number stands.

    A picture without its annotation, or the other way round, is an error: half a download counts
    fewer heads and nobody notices.
    """
    for pattern in (picture, annotation):
        existing(pattern.parent, wanted=f"a folder of {pattern.name}", see=see)
    pictures, annotations = _numbered(picture), _numbered(annotation)
    for here, there, pattern in (
        (annotations, pictures, picture),
        (pictures, annotations, annotation),
    ):
        for number in sorted(here.keys() - there.keys()):
            path = pattern.with_name(pattern.name.replace("*", number))
            raise DataError(
                f"{path} is missing: wanted for {here[number]}; see the layout in {see}"
            )
    if not pictures:
        raise DataError(
            f"{picture.parent} is empty: wanted {picture.name}; see the layout in {see}"
        )
    return sorted((int(number), pictures[number], annotations[number]) for number in pictures)


def _numbered(pattern: Path) -> dict[str, Path]:
    before, after = pattern.name.split("*")
    found = {
        path.name.removeprefix(before).removesuffix(after): path
        for path in pattern.parent.glob(pattern.name)
    }
    return {number: path for number, path in found.items() if number.isdecimal()}


def mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file; use inside `reading(path)`, as picking them may fail too."""
    return dict(loadmat(path))


def heads(raw: Any, path: Path) -> Points:
    """Published x, y pairs as P x 2; any empty array is a picture without people."""
    with reading(path):
        points = np.asarray(raw, dtype=np.float32)
        if points.size == 0:
            return np.zeros((0, 2), np.float32)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(f"points of shape {points.shape}, wanted N x 2 finite numbers")
    return points


def ordered(samples: Iterable[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda sample: sample.id)
