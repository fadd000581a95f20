"""A table's numbers: errors over the seeds of each row, and differences between rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from distill.compare import Difference, difference
from distill.crops import samples_of
from distill.evaluate import Counted
from distill.recipes import recipe, same
from distill.speed import gmacs_of
from distill.tables import Row, Table
from distill.tables._runs import CHECKPOINTS, Ran, counts_of_run, read_run
from models.errors import ConfigError
from models.machine import commit_here, machine, versions
from models.metrics import Scores
from models.nets import NETS, parameters_of

SCORES = ("mae", "mae_trimmed", "rmse", "bias")


@dataclass(frozen=True)
class Over:
    """A number of each run of a row; the deviation is a sample's, and one run has none."""

    mean: float
    deviation: float | None
    each: tuple[float, ...]

    @classmethod
    def runs(cls, each: Sequence[float]) -> "Over":
        return cls(fmean(each), stdev(each) if len(each) > 1 else None, tuple(each))


@dataclass(frozen=True)
class Seen:
    """A row's runs and what they counted: by run, then checkpoint, then part."""

    row: Row
    runs: tuple[Ran, ...]
    counts: tuple[Mapping[str, Mapping[str, Sequence[Counted]]], ...]

    @property
    def missing(self) -> tuple[str, ...]:
        there = {run.name for run in self.runs}
        return tuple(name for name in self.row.runs if name not in there)

    def counted(self, checkpoint: str, part: str) -> list[Sequence[Counted]]:
        """A list a run; none where a run has no such checkpoint."""
        if not all(checkpoint in counts for counts in self.counts):
            return []
        return [counts[checkpoint][part] for counts in self.counts]

    def errors(self, checkpoint: str, part: str) -> list[list[float]]:
        """Absolute errors: a row a run, a column a picture."""
        runs = self.counted(checkpoint, part)
        return [[abs(one.predicted - one.true) for one in counted] for counted in runs]

    def mae_by_seed(self, checkpoint: str, part: str) -> dict[int, float]:
        """The mean absolute error of the run of each seed."""
        errors_SN = self.errors(checkpoint, part)
        return {
            run.recipe["seed"]: fmean(errors_N)
            for run, errors_N in zip(self.runs, errors_SN, strict=True)
        }


@dataclass(frozen=True)
class Line:
    """A row with numbers: errors by checkpoint, part and score; cost a run."""

    name: str
    runs: tuple[str, ...]
    missing: tuple[str, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...]
    errors: Mapping[str, Mapping[str, Mapping[str, Over]]]
    parameters: int
    gmacs: float
    crops: int
    seconds: float
    begun: Mapping[str, Sequence[Mapping[str, Any]]]
    """By run: from which step it was begun or went on, by which commit and on which machine."""

    @property
    def commits(self) -> list[str]:
        return list(dict.fromkeys(one["commit"] for begun in self.begun.values() for one in begun))


@dataclass(frozen=True)
class Compared:
    row: str
    than: str
    checkpoint: str
    part: str
    difference: Difference
    by_seed: Mapping[int, float]
    """The mean difference of the two runs of each seed that both rows have."""


@dataclass(frozen=True)
class Made:
    """All that a table says. `absent`: rows of which nothing has run."""

    title: str
    says: str
    parts: Mapping[str, int]
    lines: tuple[Line, ...]
    absent: tuple[Row, ...]
    compared: tuple[Compared, ...]
    date: str
    commit: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def see(table: Table, *, runs: Path, data: Path) -> list[Seen]:
    """Read and count every run of the table that there is."""
    parts = {part: samples_of(where, data) for part, where in table.parts.items()}
    samples = list({sample.id: sample for some in parts.values() for sample in some}.values())
    ids = {part: [sample.id for sample in some] for part, some in parts.items()}
    seen = []
    for row in table.rows:
        found = [run for run in (read_run(name, runs) for name in row.runs) if run]
        counts = [_by_part(counts_of_run(runs / run.name, samples), ids) for run in found]
        seen.append(Seen(row, tuple(found), tuple(counts)))
    return seen


def measure(table: Table, seen: Sequence[Seen]) -> Made:
    by_name = {one.row.name: one for one in seen}
    some = [one for one in seen if one.runs]
    pictures = {part: len(some[0].counted("best", part)[0]) if some else 0 for part in table.parts}
    compared = [
        _compare(by_name[first], by_name[second], checkpoint, part)
        for first, second in table.compared
        for checkpoint in CHECKPOINTS
        for part in table.parts
        if by_name[first].counted(checkpoint, part) and by_name[second].counted(checkpoint, part)
    ]
    return Made(
        title=table.title,
        says=table.says,
        parts=pictures,
        lines=tuple(_line(one, list(table.parts)) for one in some),
        absent=tuple(one.row for one in seen if not one.runs),
        compared=tuple(compared),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit_here(),
        machine=machine(),
        versions=versions(),
    )


def _compare(first: Seen, second: Seen, checkpoint: str, part: str) -> Compared:
    ours, theirs = (one.mae_by_seed(checkpoint, part) for one in (first, second))
    return Compared(
        first.row.name,
        second.row.name,
        checkpoint,
        part,
        difference(first.errors(checkpoint, part), second.errors(checkpoint, part)),
        {seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs},
    )


def _by_part(
    counts: Mapping[str, Sequence[Counted]], ids: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, list[Counted]]]:
    found: dict[str, dict[str, list[Counted]]] = {}
    for checkpoint, counted in counts.items():
        by_id = {one.id: one for one in counted}
        found[checkpoint] = {part: [by_id[name] for name in some] for part, some in ids.items()}
    return found


def _line(seen: Seen, parts: Sequence[str]) -> Line:
    first = seen.runs[0].recipe
    net = NETS[first["net"]](**first["net_arguments"])
    return Line(
        name=seen.row.name,
        runs=tuple(run.name for run in seen.runs),
        missing=seen.missing,
        seeds=tuple(run.recipe["seed"] for run in seen.runs),
        notes=tuple(note for run in seen.runs for note in _notes(run)),
        errors={
            checkpoint: {part: _scores(seen.counted(checkpoint, part)) for part in parts}
            for checkpoint in CHECKPOINTS
            if seen.counted(checkpoint, parts[0])
        },
        parameters=parameters_of(net),
        gmacs=gmacs_of(net),
        crops=round(fmean(run.crops for run in seen.runs)),
        seconds=fmean(run.seconds for run in seen.runs),
        begun={run.name: run.begun for run in seen.runs},
    )


def _scores(runs: Sequence[Sequence[Counted]]) -> dict[str, Over]:
    scores = [
        Scores.of(predicted=[one.predicted for one in some], true=[one.true for one in some])
        for some in runs
    ]
    return {name: Over.runs([getattr(score, name) for score in scores]) for name in SCORES}


def _notes(run: Ran) -> list[str]:
    """What a reader must know before believing a run."""
    notes = []
    if run.steps < run.recipe["steps"]:
        notes.append(f"`{run.name}` is not finished: {run.steps} of {run.recipe['steps']} steps")
    notes += [f"`{run.name}` began with another `{file}` than is there" for file in run.replaced]
    notes += [
        f"`{run.name}` began with `{file}`, which is gone: crops and hours may lack that run's"
        for file in run.lost
    ]
    try:
        now = recipe(run.name)
    except ConfigError:
        return [*notes, f"`{run.name}` is no recipe of this commit"]
    if not same(run.recipe, now):
        notes.append(f"`{run.name}` ran with another recipe than this commit's")
    return notes
