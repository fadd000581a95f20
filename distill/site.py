"""A site's own frames: the pictures of one folder, a few of them with head points.

Labels are a CSV with the columns `picture,x,y`, a row a head, or a JSON object of lists:

    picture,x,y                     {
    08-15.jpg,211.5,80                "08-15.jpg": [[211.5, 80], [40, 122]],
    08-15.jpg,40,122                  "23-40.jpg": []
    23-40.jpg,,                     }

`picture` is a file's name in the folder, x and y are pixels from its upper left corner as a viewer
shows it. A picture without people is labelled too: a row with both empty, or an empty list.
Shapes: H x W pixels, P head points.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pictures
from PIL import ImageOps

from distill.data import Image, Points, Sample
from models.errors import DataError
from models.geometry import Letterbox, Size

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
LEAST_LABELLED = 6  # half of them are held out: fewer than three cannot judge
UNREADABLE = (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError)

Labels = Mapping[str, Points]
Track = Callable[[Sequence[str]], Iterable[str]]


@dataclass(frozen=True, eq=False)
class SiteFrame(Sample):
    """A frame that is kept in memory, at the size that it is counted at."""

    image_HW3: Image

    def read(self) -> Image:
        return self.image_HW3


@dataclass(frozen=True)
class Site:
    """`held` and `judge` are labelled and never learned from; `skipped` could not be read."""

    learned: Sequence[SiteFrame]
    held: Sequence[SiteFrame]
    unlabelled: Sequence[SiteFrame]
    judge: Sequence[SiteFrame]
    skipped: Sequence[str]


def read_labels(path: Path) -> Labels:
    """Head points by picture. Raises DataError, naming the row, for any layout but those above."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the labels {path} cannot be read: {error}") from error
    pairs = _from_json(path, text) if path.suffix.lower() == ".json" else _from_csv(path, text)
    found: dict[str, list[tuple[float, float]]] = {}
    for name, point in pairs:
        found.setdefault(name, []).extend([point] if point else [])
    return {name: np.array(some, np.float32).reshape(-1, 2) for name, some in found.items()}


def read_site(  # what a site is made of
    folder: Path,
    labels: Labels,
    *,
    judge: Labels,
    most: int,
    box: Size | None,
    track: Track = iter,
) -> Site:
    """Read the folder's frames: all that are labelled, and at most `most` others, spread evenly.

    Every third labelled frame is held out, and never fewer than three. Frames larger than `box` are
    scaled down into it, as the service does. Raises DataError where labels do not fit the pictures
    or fewer than six labelled ones can be read.
    """
    names = _names(folder)
    for said in (labels, judge):
        absent = sorted(said.keys() - set(names))
        if absent:
            raise DataError(
                f"labels name {len(absent)} pictures that {folder} has not: {absent[0]}"
            )
    twice = sorted(labels.keys() & judge.keys())
    if twice:
        raise DataError(f"{twice[0]} is labelled both to learn from and to judge by: choose one")
    others = [name for name in names if name not in labels and name not in judge]
    others = (
        [others[i * len(others) // most] for i in range(most)] if most < len(others) else others
    )
    known = {**labels, **judge}
    nobody: Points = np.zeros((0, 2), np.float32)
    frames: dict[str, SiteFrame] = {}
    for name in track(sorted([*known, *others])):
        frame = _read(folder / name, known.get(name, nobody), box)
        if frame:
            frames[name] = frame
    labelled, unlabelled, judges = (
        [frames[name] for name in sorted(some) if name in frames]
        for some in (labels, others, judge)
    )
    if len(labelled) < LEAST_LABELLED or not unlabelled:
        raise DataError(
            f"{folder} has {len(labelled)} labelled frames and {len(unlabelled)} others that can "
            f"be read: wanted {LEAST_LABELLED} or more, and some others; label or collect more"
        )
    held = _held_of(len(labelled))
    return Site(
        learned=[frame for i, frame in enumerate(labelled) if i not in held],
        held=[labelled[i] for i in held],
        unlabelled=unlabelled,
        judge=judges,
        skipped=[name for name in sorted([*known, *others]) if name not in frames],
    )


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"no folder of frames at {folder}")
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not names:
        raise DataError(f"{folder} holds no picture: wanted {', '.join(ENDINGS)}")
    return names


def _held_of(labelled: int) -> list[int]:
    """Every third, but three of fewer than nine: the middles of equal parts."""
    held = max(3, labelled // 3)
    return [(2 * i + 1) * labelled // (2 * held) for i in range(held)]


def _read(path: Path, points_P2: Points, box: Size | None) -> SiteFrame | None:
    """None where the file is no whole picture: cameras leave such ones behind."""
    try:
        with Pictures.open(path) as picture:
            image_HW3 = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except UNREADABLE:
        return None
    height, width = image_HW3.shape[:2]
    outside_P = ((points_P2 < 0) | (points_P2 > (width, height))).any(axis=1)
    if outside_P.any():
        x, y = points_P2[outside_P][0]
        raise DataError(
            f"{path.name} is labelled at ({x:g}, {y:g}), outside its {width} x {height}"
        )
    if box:
        to = Letterbox.fit((height, width), box=box, multiple=1).scaled
        if to != (height, width):
            resized = cv2.resize(image_HW3, to[::-1], interpolation=cv2.INTER_AREA)
            image_HW3 = np.asarray(resized, np.uint8)
            points_P2 = points_P2 * np.array([to[1] / width, to[0] / height], np.float32)
    return SiteFrame(f"site_{path.name}", path, points_P2, image_HW3)


def _from_csv(path: Path, text: str) -> Iterable[tuple[str, tuple[float, float] | None]]:
    rows = csv.DictReader(text.splitlines())
    if not {"picture", "x", "y"} <= set(rows.fieldnames or ()):
        raise DataError(f"{path} has the columns {rows.fieldnames}: wanted picture,x,y")
    for row in rows:
        x, y = (row["x"] or "").strip(), (row["y"] or "").strip()
        where = f"{path} line {rows.line_num}"
        yield row["picture"], _point((x, y), where) if x or y else None


def _from_json(path: Path, text: str) -> Iterable[tuple[str, tuple[float, float] | None]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(some, list) for some in found.values()):
        raise DataError(f"{path}: wanted an object of lists, {{picture: [[x, y], ...]}}")
    for name, points in found.items():
        yield name, None
        for point in points:
            yield name, _point(point, f"{path}, {name}")


def _point(raw: Any, where: str) -> tuple[float, float]:
    try:
        x, y = map(float, raw)
    except (TypeError, ValueError):
        x = y = np.nan
    if isinstance(raw, str) or not np.isfinite((x, y)).all():
        raise DataError(f"{where}: {raw!r} is not a point: wanted two finite numbers, x and y")
    return x, y
