"""Does every engine count like the trained net? Whole pictures, at their own size.

The net runs in fp32 from the bundle's own weights, so a graph that was exported from other weights
is found too. Shapes: H x W pixels, h x w cells.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deploy import budget
from deploy.bundle import Bundle, InputRule, ParityRow
from deploy.card import describe
from deploy.engines import BACKENDS, Engine, Frames, Maps, Precision
from models.checkpoint import load_checkpoint
from models.density import Map, count
from models.errors import DataError, EngineError, ParityError
from models.geometry import Letterbox, pad
from models.metrics import mae
from models.nets import Pixels

Image = NDArray[np.uint8]

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True)
class Picture:
    """An RGB picture, read when it is needed, and how many people are in it where that is known."""

    id: str
    read: Callable[[], Image]
    true: float | None = None


def pictures_of(folder: Path, *, limit: int | None = None) -> list[Picture]:
    """A split of the data pack (`index.csv`, `images/ID.jpg`) or any folder of pictures.

    With `limit`, so many, spread evenly. Raises DataError where there are none.
    """
    index = folder / "index.csv"
    found = list(_indexed(index)) if index.is_file() else list(_loose(folder))
    if not found:
        raise DataError(
            f"{folder} holds no pictures: wanted {', '.join(SUFFIXES)}, or a split of the pack"
        )
    if limit is None or limit >= len(found):
        return found
    if limit < 1:
        raise DataError(f"a limit of {limit} pictures: wanted one or more")
    return [found[i * len(found) // limit] for i in range(limit)]


def runnable(bundle: Bundle, names: Sequence[str] = ()) -> list[tuple[str, Precision]]:
    """Engines and precisions that can run the bundle here, of the engines named (none: of all).

    Raises EngineError where none is left, with each engine's reason.
    """
    pairs: list[tuple[str, Precision]] = []
    reasons = []
    for name in names or BACKENDS.names():
        backend = BACKENDS[name]
        reason = backend.unavailable()
        if reason is None:
            pairs += [(name, precision) for precision in backend.precisions(bundle)]
        reasons.append(f"{name}: {reason}")
    if not pairs:
        raise EngineError(f"no engine can run here ({'; '.join(reasons)})")
    return pairs


def parity(
    bundle: Bundle, pictures: Iterable[Picture], *, engines: Sequence[tuple[str, Precision]]
) -> list[ParityRow]:
    """How far each engine is from the net. It judges nothing: `hold` does.

    Raises ParityError at once for a map of another shape, EngineError where an engine fails.
    """
    net, rule = _Net(bundle), bundle.manifest.input
    with ExitStack() as stack:
        rivals = [
            _Rival(stack.enter_context(closing(BACKENDS[name].load(bundle, precision=precision))))
            for name, precision in engines
        ]
        seen: list[Picture] = []
        counts = []
        for picture in pictures:
            image_HW3 = picture.read()
            density_hw = density_by(net.run, image_HW3, rule)
            for rival in rivals:
                rival.meet(density_by(rival.run, image_HW3, rule), density_hw, picture.id)
            counts.append(count(density_hw))
            seen.append(picture)
    if not counts:
        raise DataError("no pictures to compare on")
    return [rival.row(counts, seen) for rival in rivals]


def hold(rows: Iterable[ParityRow]) -> None:
    """Raises ParityError, naming engine, precision, figure and budget, where one is exceeded."""
    for row in rows:
        if over := budget.excess(row):
            raise ParityError(
                f"{row.engine} {row.precision}: {over}: export again, or leave this engine out"
            )


def record(bundle: Bundle, rows: Sequence[ParityRow]) -> None:
    """Put the rows into manifest and card, in place of older ones of the same engines.

    Raises DataError, and writes nothing, where a row has no figure with a budget, or would take the
    place of one that was measured on more pictures.
    """
    new = {(row.engine, row.precision): row for row in rows}
    old = {(row.engine, row.precision): row for row in bundle.manifest.parity}
    for key, row in new.items():
        what = f"{row.engine} {row.precision}"
        least = max(budget.LEAST_PICTURES, old[key].pictures if key in old else 0)
        if row.pictures < least:
            raise DataError(
                f"{what} was compared on {row.pictures} pictures, so nothing is written: wanted "
                f"{least} or more (--no-write only looks)"
            )
        if not budget.judged(row):
            raise DataError(
                f"{what} was not judged, so nothing is written: its budget "
                "is one of MAE, and these pictures have no true counts (wanted an index.csv)"
            )
    table = tuple(row for _, row in sorted((old | new).items()))
    describe(bundle.folder, bundle.manifest.model_copy(update={"parity": table}))


def density_by(run: Callable[[Frames], Maps], image_HW3: Image, rule: InputRule) -> Map:
    """The cells that cover a picture, by whoever runs it."""
    size = (image_HW3.shape[0], image_HW3.shape[1])
    box = Letterbox.fit(size, box=size, multiple=rule.multiple)
    maps_1hw = run(np.ascontiguousarray(pad(image_HW3, box.padded)[None]))
    return box.crop(maps_1hw[0], rule.stride)


def mae_lost(ours: Sequence[float], net: Sequence[float], true: Sequence[float]) -> float:
    """By counts of the same pictures: the MAE of ours minus that of the net, relative to that."""
    theirs = mae(predicted=net, true=true)
    return (mae(predicted=ours, true=true) - theirs) / max(theirs, 1.0)


def by_part(pictures: Sequence[Picture]) -> dict[str, list[int]]:
    """Which pictures are of which data set: the first word of their ids."""
    parts: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        parts.setdefault(picture.id.split("_")[0], []).append(index)
    return parts


class _Net:
    """The reference: the trained net in fp32."""

    def __init__(self, bundle: Bundle) -> None:
        self._pixels = Pixels(load_checkpoint(bundle.weights).net).eval()

    @torch.inference_mode()
    def run(self, frames_NHW3: Frames) -> Maps:
        maps: Maps = self._pixels(torch.from_numpy(frames_NHW3)).numpy()
        return maps


@dataclass
class _Rival:
    """One engine at one precision, and what was seen of it so far."""

    engine: Engine
    counts: list[float] = field(default_factory=list)
    cell_gap: float = 0.0

    def run(self, frames_NHW3: Frames) -> Maps:
        return self.engine.submit(frames_NHW3).result()

    def meet(self, density_hw: Map, net_hw: Map, name: str) -> None:
        if density_hw.shape != net_hw.shape:
            raise ParityError(
                f"{self.engine.name} {self.engine.precision}: {name} gives a map of "
                f"{density_hw.shape}, the net's is {net_hw.shape}: export the bundle again"
            )
        self.counts.append(count(density_hw))
        self.cell_gap = float(
            np.maximum(self.cell_gap, np.abs(density_hw - net_hw).max())
        )  # keeps NaN

    def row(self, net: Sequence[float], pictures: Sequence[Picture]) -> ParityRow:
        true = [one.true for one in pictures if one.true is not None]
        judged = len(true) == len(pictures)
        gaps = np.abs(np.subtract(self.counts, net)) / np.maximum(net, 1.0)
        return ParityRow(
            engine=self.engine.name,
            precision=self.engine.precision,
            pictures=len(net),
            worst_count_gap=float(gaps.max()),
            worst_cell_gap=self.cell_gap,
            mae_lost=mae_lost(self.counts, net, true) if judged else None,
            mae_lost_by_part={
                part: mae_lost(*([values[i] for i in which] for values in (self.counts, net, true)))
                for part, which in by_part(pictures).items()
                if judged
            },
        )


def _indexed(index: Path) -> Iterator[Picture]:
    try:
        for row in csv.DictReader(index.read_text(encoding="utf-8").splitlines()):
            path = index.parent / "images" / f"{row['id']}.jpg"
            yield Picture(row["id"], partial(_read, path), float(row["count"]))
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{index} is not a split of the pack: wanted columns id and count"
        ) from error


def _loose(folder: Path) -> Iterator[Picture]:
    if not folder.is_dir():
        raise DataError(f"no folder {folder}")
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            yield Picture(path.stem, partial(_read, path))


def _read(path: Path) -> Image:
    """RGB, upright as stored (EXIF rotation is not applied): as the net was evaluated."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise DataError(f"{path} is not a picture that can be read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
