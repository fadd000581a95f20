"""What is left of a net's counts when light, weather or the camera is bad: every corruption on the
same pictures, beside the pictures as they are.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from zlib import crc32

import numpy as np

from distill.corruptions import CORRUPTIONS, LEARNED, Corruption
from distill.crops import samples_of
from distill.data import Image, Sample
from distill.evaluate import counts_of
from distill.recipes import Part
from models.machine import commit_here, machine, versions
from models.metrics import Scores
from models.nets import CountingNet
from models.whole import folder_at, write_text

AS_TAKEN: Final = "as taken"
PARTS: Final[Mapping[str, Part]] = MappingProxyType(
    {
        "part A": Part("pack", "val", prefix="sha_"),
        "part B": Part("pack", "val", prefix="shb_"),
        "Beijing-BRT": Part("pack", "train_brt", fold="held"),
        "nobody there": Part("pack", "train_empty", fold="held"),
    }
)
Case = tuple[str, str, str]  # net, part, corruption


@dataclass(frozen=True)
class Corrupted(Sample):
    """A sample whose picture comes corrupted, the same way whenever it is read."""

    taken: Sample
    corruption: Corruption
    severity: float

    @classmethod
    def of(cls, taken: Sample, corruption: Corruption, severity: float) -> "Corrupted":
        return cls(taken.id, taken.path, taken.points_P2, taken, corruption, severity)

    def read(self) -> Image:
        rng = np.random.default_rng(crc32(self.id.encode()))
        return self.corruption(self.taken.read(), self.severity, rng)


@dataclass(frozen=True)
class Held:
    """Errors of one net on one part under one corruption."""

    net: str
    part: str
    corruption: str
    scores: Scores

    @property
    def counted(self) -> float:
        """Mean count that the net gave."""
        return self.scores.mean_true + self.scores.bias


def parts_of(data: Path, *, every: int = 1) -> dict[str, Sequence[Sample]]:
    """Every so many-th validation picture of each part; those of Beijing-BRT and those without
    people are held back from training. Raises DataError where the pack is not below `data`.
    """
    return {name: samples_of(part, data)[::every] for name, part in PARTS.items()}


def robustness(
    nets: Mapping[str, CountingNet],
    parts: Mapping[str, Sequence[Sample]],
    *,
    severity: float,
    track: Callable[[Sequence[Case]], Iterable[Case]] = iter,
) -> list[Held]:
    """Whole pictures in fp32, as taken and under each corruption."""
    cases = [(net, part, how) for net in nets for part in parts for how in (AS_TAKEN, *CORRUPTIONS)]
    return [
        Held(net, part, how, _scores(nets[net], _corrupted(parts[part], how, severity)))
        for net, part, how in track(cases)
    ]


def _corrupted(samples: Sequence[Sample], how: str, severity: float) -> Sequence[Sample]:
    if how == AS_TAKEN:
        return samples
    return [Corrupted.of(sample, CORRUPTIONS[how], severity) for sample in samples]


def _scores(net: CountingNet, samples: Sequence[Sample]) -> Scores:
    counted = counts_of(samples, net)
    return Scores.of(
        predicted=[one.predicted for one in counted], true=[one.true for one in counted]
    )


def save(held: Sequence[Held], *, severity: float, every: int, folder: Path) -> list[Path]:
    """JSON and Markdown, named by date and commit."""
    folder_at(folder)
    date, commit = datetime.now(UTC).isoformat(timespec="seconds"), commit_here()
    said: dict[str, Any] = {
        "date": date, "commit": commit, "severity": severity, "every": every,
        "machine": machine(), "versions": versions(),
        "held": [asdict(one) | {"scores": one.scores.plain()} for one in held],
    }  # fmt: skip
    data = folder / f"{date[:19].replace(':', '')}-robustness-{commit}.json"
    write_text(data, json.dumps(said, indent=2) + "\n")
    page = data.with_suffix(".md")
    write_text(page, markdown(held, said))
    return [data, page]


def markdown(held: Sequence[Held], said: Mapping[str, Any]) -> str:
    which = "all pictures" if said["every"] == 1 else f"every {said['every']}th picture"
    learned = ", ".join(one.__name__ for one in LEARNED)
    sections = [
        f"# Counts under corruption, {said['date']}",
        f"Each cell: the mean count that a net gave, and its MAE in people a picture. Severity "
        f"{said['severity']:g} of 5 (`distill/corruptions.py`), {which} of validation, whole, in "
        f"fp32. Crops of training may be harsh ({learned}); the other corruptions ask for what was "
        f"not shown so. Commit `{said['commit']}`, {said['machine']['processor']}, torch "
        f"{said['versions'].get('torch')}.",
        *(_part(held, part) for part in dict.fromkeys(one.part for one in held)),
    ]
    return "\n\n".join(sections) + "\n"


def _part(held: Sequence[Held], part: str) -> str:
    some = [one for one in held if one.part == part]
    nets = list(dict.fromkeys(one.net for one in some))
    found = {(one.corruption, one.net): one for one in some}
    scores = some[0].scores
    lines = [
        f"## {part}: {scores.pictures} pictures, {scores.mean_true:.1f} people in the mean",
        "",
        f"| | {' | '.join(f'`{net}` | MAE' for net in nets)} |",
        f"| --- |{' ---: | ---: |' * len(nets)}",
    ]
    for how in dict.fromkeys(one.corruption for one in some):
        cells = [found[how, net] for net in nets]
        numbers = " | ".join(f"{one.counted:.1f} | {one.scores.mae:.1f}" for one in cells)
        lines.append(f"| {how} | {numbers} |")
    return "\n".join(lines)
