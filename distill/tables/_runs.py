"""A run as a table sees it: what its folder says of it, and its checkpoints counted in full.

`counts.csv` in the run's folder keeps what was counted, by the checkpoint's SHA-256.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import log
from distill.data import Sample
from distill.evaluate import Counted, counts_of
from distill.lineage import sha256
from models.checkpoint import load_checkpoint
from models.errors import DataError
from models.progress import tracked
from models.whole import whole

CHECKPOINTS = ("best", "last")
HEAD = ("checkpoint", "id", "predicted", "true")

Known = dict[str, dict[str, Counted]]
"""Counts by the checkpoint's SHA-256, then by the picture's id."""


@dataclass(frozen=True)
class Ran:
    """`crops` and `seconds` include those of the runs that its student started from, and `curve`
    (crops seen, validation errors of each part by the first word of its ids) counts on from them.
    `begun` says from which step, by which commit and on which machine it was begun or went on;
    `lost` and `replaced` are files of other runs that it began with, and that are gone or others.
    """

    name: str
    recipe: Mapping[str, Any]
    steps: int
    crops: int
    seconds: float
    curve: tuple[tuple[int, Mapping[str, float]], ...]
    begun: tuple[Mapping[str, Any], ...]
    lost: tuple[str, ...]
    replaced: tuple[str, ...]


def read_run(name: str, runs: Path) -> Ran | None:
    """None where it has no checkpoint yet. Raises DataError where its folder is broken.

    A start that was put there without its run, as what ships is, saw no crops that are known.
    """
    folder = runs / name
    if not (folder / "best.safetensors").is_file():
        return None
    recipe = _recipe(folder / "recipe.json")
    entries = log.read(folder / "log.jsonl")
    behind = _behind(recipe, runs).values()
    crops, seconds = sum(spent[0] for spent in behind), sum(spent[1] for spent in behind)
    steps = _steps(entries)
    curve = [
        (
            crops + entry["step"] * recipe["batch"],
            {part: scores["mae"] for part, scores in entry["validation"].items()},
        )
        for entry in entries
        if "validation" in entry
    ]
    begun = tuple(entry for entry in entries if "begins_at" in entry)
    came_from = {file: digest for one in begun for file, digest in one["came_from"].items()}
    there = {file for file in came_from if (runs / file).is_file()}
    return Ran(
        name=name,
        recipe=recipe,
        steps=steps,
        crops=crops + steps * recipe["batch"],
        seconds=seconds + _seconds(entries),
        curve=tuple(curve),
        begun=begun,
        lost=tuple(sorted(came_from.keys() - there)),
        replaced=tuple(sorted(f for f in there if sha256(runs / f) != came_from[f])),
    )


def counts_of_run(folder: Path, samples: Sequence[Sample]) -> dict[str, list[Counted]]:
    """What the run's checkpoints count, in fp32, on these pictures; only what is new is counted.

    A run of before there was a `last` has only its `best`. Raises DataError where a file is broken.
    """
    known = _read_counts(folder / "counts.csv")
    found: dict[str, list[Counted]] = {}
    for name in CHECKPOINTS:
        path = folder / f"{name}.safetensors"
        if not path.is_file():
            continue
        have = known.setdefault(sha256(path), {})
        new = [s for s in samples if s.id not in have or have[s.id].true != s.count]
        if new:
            show = tracked(f"counting {folder.name} {name}", total=len(new))
            counted = counts_of(new, load_checkpoint(path).net, track=show)
            have |= {one.id: one for one in counted}
            _write_counts(folder / "counts.csv", known)
        found[name] = [have[sample.id] for sample in samples]
    return found


def _behind(recipe: Mapping[str, Any], runs: Path) -> dict[str, tuple[int, float]]:
    """Crops and seconds of every run that it goes on from, near or far: each counts once, though
    two that were averaged began as one.
    """
    found: dict[str, tuple[int, float]] = {}
    for start in (recipe.get("starts_from"), *recipe.get("averaged_with", ())):
        if start and (runs / start / "recipe.json").is_file():
            before, entries = (
                _recipe(runs / start / "recipe.json"),
                log.read(runs / start / "log.jsonl"),
            )
            found |= _behind(before, runs)
            found[start] = (_steps(entries) * before["batch"], _seconds(entries))
    return found


def _steps(entries: Iterable[Mapping[str, Any]]) -> int:
    return max((entry["step"] for entry in entries if "step" in entry), default=0)


def _seconds(entries: Iterable[Mapping[str, Any]]) -> float:
    """Of the wall clock, validation included; a run that goes on counts from zero again."""
    total = last = 0.0
    for entry in entries:
        if "begins_at" in entry:
            total, last = total + last, 0.0
        last = float(entry.get("seconds", last))
    return total + last


def _recipe(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a run's recipe ({error})") from error


def _read_counts(path: Path) -> Known:
    known: Known = {}
    if not path.exists():
        return known
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                one = Counted(row["id"], float(row["predicted"]), int(row["true"]))
                known.setdefault(row["checkpoint"], {})[one.id] = one
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} is not what `table` writes ({error}): remove it") from error
    return known


def _write_counts(path: Path, known: Known) -> None:
    with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(HEAD)
        for digest, counted in known.items():
            lines.writerows((digest, one.id, one.predicted, one.true) for one in counted.values())
