"""What is promised of a fault, what was measured, and the page of both."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.running import ROOT

PAGE = ROOT / "service" / "results" / "faults.md"
STEADY_WITHIN = 0.05  # of its rate, whatever happens to another camera


@dataclass(frozen=True)
class Fault:
    """What happens, and what is promised then: times in seconds, None where it does not apply."""

    name: str
    made: str
    detect_s: float | None = None
    recover_s: float | None = None
    gap_s: float | None = None
    """No longer without a fresh reading, where the camera is to go on counting."""
    shown: tuple[str, ...] = ("live",)


@dataclass(frozen=True)
class Figure:
    """What one fault came to."""

    fault: Fault
    shown: str
    detected_s: float | None = None
    recovered_s: float | None = None
    gap_s: float | None = None
    steady: float | None = None
    """The rate of the other camera meanwhile, as a share of what is asked of it."""
    note: str = ""

    def check(self) -> None:
        """Fails where a promise is not kept."""
        fault = self.fault
        assert self.shown in fault.shown, f"{fault.name}: shown as {self.shown}"
        for what, measured_s, limit_s in (
            ("detected", self.detected_s, fault.detect_s),
            ("recovered", self.recovered_s, fault.recover_s),
            ("gap", self.gap_s, fault.gap_s),
        ):
            if limit_s is not None:
                assert measured_s is not None, f"{fault.name}: {what} was not measured"
                assert measured_s <= limit_s, (
                    f"{fault.name}: {what} {measured_s:.1f} > {limit_s:g} s"
                )
        if self.steady is not None:
            assert abs(self.steady - 1) <= STEADY_WITHIN, (
                f"{fault.name}: the other camera ran at {self.steady:.0%} of its rate"
            )

    def row(self) -> str:
        fault = self.fault
        return " | ".join(
            (
                f"| {fault.name}",
                fault.made,
                _timed(self.detected_s, fault.detect_s),
                _timed(self.recovered_s, fault.recover_s),
                _timed(self.gap_s, fault.gap_s),
                self.shown,
                "-" if self.steady is None else f"{self.steady:.0%}",
                f"{self.note} |",
            )
        )


def _timed(measured_s: float | None, limit_s: float | None) -> str:
    if measured_s is None:
        return "-"
    text = f"{measured_s:.1f}" + ("" if limit_s is None else f" ({limit_s:g})")
    return f"**{text}**" if limit_s is not None and measured_s > limit_s else text


def dump(figures: Iterable[Figure], path: Path) -> None:
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=1))


def load(path: Path) -> list[Figure]:
    def figure(entry: dict[str, object]) -> Figure:
        fault = entry.pop("fault")
        assert isinstance(fault, dict)
        fault["shown"] = tuple(fault["shown"])
        return Figure(Fault(**fault), **entry)  # type: ignore[arg-type]  # as dump wrote it

    return [figure(entry) for entry in json.loads(path.read_text())]


def where() -> str:
    """Date, commit, machine."""
    head = ["git", "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=False)
    dirty = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    machine = f"{os.cpu_count()} cores ({names[0] if names else platform.machine()})"
    after = " with changes" if dirty else ""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit `{commit.stdout.strip() or 'unknown'}`{after}, "
        f"{machine}, Linux {platform.release()}"
    )


class Outcomes:
    """A plug-in of pytest. Which faults have no row, or none to be believed, and why."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.lines.append(f"- **FAILED**: {name}")
        elif report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            self.lines.append(f"- not made: {name} ({why})")


def page(figures: Iterable[Figure], outcomes: Outcomes) -> str:
    rows = [figure.row() for figure in figures]
    return "\n".join(
        (
            "# Camera faults, measured",
            "",
            f"{where()}. Made by `python -m tests.faults`.",
            "",
            "Times in seconds, the limit in brackets; bold is over the limit. *Detected*: from the "
            "beginning of the fault to the message of the new state at a websocket client. "
            "*Recovered*: from the end of its cause to the first fresh count. *Gap*: where the "
            "camera is to go on counting, the longest time without a fresh count. *Others*: the "
            "rate of another camera of the same service meanwhile, as a share of what it is asked.",
            "",
            "| fault | made by | detected | recovered | gap | shown | others | |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            *(["", *outcomes.lines] if outcomes.lines else []),
            "",
        )
    )
