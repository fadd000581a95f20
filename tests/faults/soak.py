"""A soak: some cameras for a long time, and what the service comes to hold meanwhile."""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from models.machine import commit_here, machine, versions
from tests.faults.camera import PASSWORD, address, camera
from tests.faults.clips import drawn
from tests.faults.figures import where
from tests.faults.processes import children, held, rss_mib
from tests.faults.town import STEADY, Town, town
from tests.running import ROOT

RESULTS = ROOT / "service" / "results"
EVERY_S = 5.0
WARM_SHARE = 0.2  # of the time, at most
WARM_S = 300.0
FILES = 4
HELD = {
    "service_mib": "memory of the service, MiB",
    "readers_mib": "memory of its readers, MiB",
    "files": "open files",
    "threads": "threads",
    "processes": "processes",
}


@dataclass(frozen=True)
class Sample:
    at_s: float  # since the beginning
    service_mib: float
    readers_mib: float
    files: int
    threads: int
    processes: int


@dataclass(frozen=True)
class Soak:
    """What was seen, and where."""

    date: str
    commit: str
    minutes: float
    counted: float
    """Frames of the steady camera."""
    samples: Sequence[Sample]

    @property
    def warm_s(self) -> float:
        return min(WARM_S, WARM_SHARE * self.minutes * 60)

    @property
    def warm(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.at_s >= self.warm_s]

    @property
    def halves(self) -> tuple[list[Sample], list[Sample]]:
        """Of what was warm."""
        middle = len(self.warm) // 2
        return self.warm[:middle], self.warm[middle:]


def sample(pid: int, began_s: float) -> Sample:
    now = held(pid)
    return Sample(
        at_s=time.monotonic() - began_s,
        service_mib=rss_mib(pid),
        readers_mib=sum(map(rss_mib, children(pid))),
        files=now.files,
        threads=now.threads,
        processes=now.processes,
    )


def soak(minutes: float) -> Soak:
    """Runs the cameras for so long."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = drawn(folder)
        files = {
            f"file-{number}": {"source": str(clips.plaza), "loop": True} for number in range(FILES)
        }
        with (
            camera(clips.plaza) as rtsp,
            camera(clips.large) as other,
            town(
                folder, rtsp.port, cameras={**files, "large": {"source": address(other.port)}}
            ) as one,
        ):
            samples = watch(one, minutes)
            assert PASSWORD not in one.running.log.read_text()
            return Soak(
                date=datetime.now(UTC).isoformat(timespec="seconds"),
                commit=commit_here(),
                minutes=minutes,
                counted=one.samples(STEADY)["throng_frames_counted_total", ""],
                samples=samples,
            )


def watch(one: Town, minutes: float) -> list[Sample]:
    began_s = time.monotonic()
    samples: list[Sample] = []
    while time.monotonic() < began_s + minutes * 60:
        samples.append(sample(one.pid, began_s))
        del one.diary.entries[:-1000]  # this process is not what is watched
        time.sleep(EVERY_S)
    return samples


def slope(samples: Sequence[Sample], of: str) -> float:
    """An hour, after Theil and Sen: the median of the slopes between any two samples."""
    return float(
        median(
            (getattr(late, of) - getattr(early, of)) * 3600 / (late.at_s - early.at_s)
            for early, late in combinations(samples, 2)
        )
    )


def level(samples: Sequence[Sample], of: str) -> float:
    return float(median(getattr(one, of) for one in samples))


def save(seen: Soak, folder: Path = RESULTS) -> list[Path]:
    """Samples as JSON, the page, the plot: named by date and commit."""
    folder.mkdir(exist_ok=True)
    stem = f"{seen.date[:19].replace(':', '')}-soak-{seen.commit}"
    data, text, plot = (folder / f"{stem}.{end}" for end in ("json", "md", "png"))
    plain = {**asdict(seen), "machine": machine(), "versions": versions()}
    data.write_text(json.dumps(plain, indent=1) + "\n")
    text.write_text(page(seen, plot=plot.name))
    draw(seen, plot)
    return [data, text, plot]


def page(seen: Soak, *, plot: str) -> str:
    warm, (_, later) = seen.warm, seen.halves
    rows = [
        f"| {what} | {getattr(warm[0], of):.1f} | {getattr(warm[-1], of):.1f} "
        f"| {slope(warm, of):+.2f} | {slope(later, of):+.2f} |"
        for of, what in HELD.items()
    ]
    return "\n".join(
        (
            "# Soak",
            "",
            f"{where()}. Made by `python -m tests.faults soak --minutes {seen.minutes:g}`.",
            "",
            f"{FILES} files in a loop and 2 RTSP cameras for {seen.minutes:g} minutes, a sample "
            f"each {EVERY_S:g} s, {seen.warm_s:.0f} s of warming up left out. Slopes: the median "
            "of those between any two samples (Theil and Sen). A leak has one in the second half, "
            "too; a step that was made before has none there. The "
            f"steady camera was counted {seen.counted:.0f} times.",
            "",
            "| | after warming up | at the end | slope an hour | of the second half |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"![What was held over time]({plot})",
            "",
        )
    )


def draw(seen: Soak, path: Path) -> None:
    """Above by how much memory grew since it was warm, below what is held in pieces."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    memory, pieces = figure.subplots(2, 1, sharex=True)
    minutes = [one.at_s / 60 for one in seen.samples]
    for of, what in HELD.items():
        values = [getattr(one, of) for one in seen.samples]
        if of.endswith("_mib"):
            from_mib = getattr(seen.warm[0], of)
            memory.plot(minutes, [value - from_mib for value in values], label=f"{what} more")
        else:
            pieces.plot(minutes, values, label=what)
    for panel in (memory, pieces):
        panel.axvline(seen.warm_s / 60, color="grey", linewidth=0.8, linestyle=":")
        panel.legend(fontsize=8)
    memory.set_ylabel("MiB above the warm service")
    pieces.set_ylabel("how many")
    pieces.set_ylim(bottom=0)
    pieces.set_xlabel("minutes; the dotted line ends the warming up")
    figure.savefig(path, dpi=90)
