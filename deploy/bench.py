"""How fast bundles are here: every case in a process of its own, beside the machine's own peak.

Results are dated files with machine, versions, commit and load: they are added, never edited.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any

from deploy.bench_case import Case, Measured
from deploy.bench_nets import gmac
from deploy.bundle import Bundle
from deploy.parity import runnable
from deploy.peak import peaks
from models.errors import ConfigError
from models.machine import commit_here, machine, versions

LIMIT_S = 900  # a case that takes longer is given up

Measure = Callable[[Case], Measured | str]


@dataclass(frozen=True)
class Grid:
    """Every combination is a case."""

    engines: Sequence[str] = ()  # none: all that can run here
    precisions: Sequence[str] = ()  # none: all that the engine has for the bundle
    sizes: Sequence[str] = ("768x432",)  # width x height
    batches: Sequence[int] = (1,)
    lanes: Sequence[int] = (1,)
    rounds: int = 5
    round_s: float = 1.0

    def cases(self, bundle: Bundle) -> Iterator[Case]:
        """Raises EngineError where no engine runs here, ConfigError for a size that cannot be."""
        sizes = [_size(text, bundle) for text in self.sizes]
        for (engine, precision), (width, height), batch, lanes in product(
            runnable(bundle, self.engines), sizes, self.batches, self.lanes
        ):
            if not self.precisions or precision in self.precisions:
                yield Case(
                    str(bundle.folder.resolve()), engine, precision, height=height, width=width,
                    batch=batch, lanes=lanes, rounds=self.rounds, round_s=self.round_s,
                )  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A case and what came of it."""

    name: str
    case: Case
    gmac: float
    """Billions of multiply-adds a frame."""
    load_average: float
    """Of the machine in the minute before the case."""
    validation: Mapping[str, float]
    """MAE of each part, of the net in fp32; empty for nets of random weights."""
    result: Measured | None
    error: str | None

    def share_of_peak(self, peak: Mapping[str, float]) -> float | None:
        """Of what one core can multiply in that precision, by processor time.

        None where that is unknown, or where the processor cannot have done the work itself.
        """
        return self._share(peak, self.result.cpu_ms if self.result else None)

    def share_in_convolutions(self, peak: Mapping[str, float]) -> float | None:
        """The same, counting only the time inside convolutions.

        None where it is not counted, or where it exceeds the frame's: one of both is wrong.
        """
        batch_ms = self.result.convolutions_ms if self.result else None
        if self.result is None or batch_ms is None:
            return None
        frame_ms = batch_ms / self.case.batch
        return self._share(peak, frame_ms if frame_ms <= self.result.cpu_ms else None)

    def _share(self, peak: Mapping[str, float], frame_ms: float | None) -> float | None:
        most = peak.get(self.case.precision)
        if most is None or not frame_ms:
            return None
        share = 1e12 * self.gmac / frame_ms / most
        return share if share <= 1 else None


@dataclass(frozen=True)
class Run:
    """A table of cases, and all that one must know to compare it with another."""

    date: str
    commit: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    peak: Mapping[str, float]
    """Multiply-adds a second of one core, by precision."""
    rows: Sequence[Row]

    def plain(self) -> dict[str, Any]:
        """As JSON: each row with its share of the peak, and without the folder of its bundle."""
        plain = asdict(self)
        for row, of in zip(plain["rows"], self.rows, strict=True):
            del row["case"]["bundle"]
            row["share_of_peak"] = of.share_of_peak(self.peak)
            row["share_in_convolutions"] = of.share_in_convolutions(self.peak)
        return plain


def cases_of(bundles: Iterable[Bundle], grid: Grid) -> list[tuple[Bundle, Case]]:
    """Raises ConfigError where nothing is left to measure."""
    cases = [(bundle, case) for bundle in bundles for case in grid.cases(bundle)]
    if not cases:
        raise ConfigError("no case is left: no engine here has these precisions")
    return cases


def bench(
    cases: Iterable[tuple[Bundle, Case]],
    *,
    measure: Measure | None = None,
    peak: Callable[[], Mapping[str, float]] = peaks,
) -> Run:
    """A case that fails is a row with its error. The peak is the better of one before, one after.

    Cases run one after the other; the machine should do nothing else meanwhile.
    """
    before = peak()
    rows = [_row(bundle, case, measure or in_a_process) for bundle, case in cases]
    after = peak()
    return Run(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit_here(),
        machine=machine(),
        versions=versions(),
        peak={key: max(macs, after.get(key, 0.0)) for key, macs in before.items()},
        rows=rows,
    )


def in_a_process(case: Case) -> Measured | str:
    """What was measured, or why nothing was, in one line."""
    command = (sys.executable, "-m", "deploy.bench_case", json.dumps(asdict(case)))
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"not done after {LIMIT_S} s"
    if ran.returncode:
        last = ran.stderr.strip().splitlines()[-1:]
        return last[0] if last else f"the process ended with {ran.returncode}"
    return Measured(**json.loads(ran.stdout.strip().splitlines()[-1]))


def _row(bundle: Bundle, case: Case, measure: Measure) -> Row:
    load_average, *_ = os.getloadavg()
    came = measure(case)
    return Row(
        name=bundle.name,
        case=case,
        gmac=gmac(bundle.model("fp32"), height=case.height, width=case.width),
        load_average=load_average,
        validation={part: scores.mae for part, scores in bundle.manifest.validation.items()},
        result=came if isinstance(came, Measured) else None,
        error=came if isinstance(came, str) else None,
    )


def _size(text: str, bundle: Bundle) -> tuple[int, int]:
    multiple = bundle.manifest.input.multiple
    width, _, height = text.partition("x")
    fits = width.isdecimal() and height.isdecimal()
    if not fits or int(width) % multiple or int(height) % multiple or not int(width) * int(height):
        raise ConfigError(
            f"--size {text!r}: wanted WIDTHxHEIGHT, multiples of {multiple} for {bundle.name}"
        )
    return int(width), int(height)
