"""A soak: some cameras for a long time, and what the service comes to hold meanwhile."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.faults.camera import PASSWORD, address, camera
from tests.faults.clips import drawn
from tests.faults.figures import where
from tests.faults.processes import children, held, rss_mib
from tests.faults.town import STEADY, Town, town
from tests.running import ROOT

PAGE = ROOT / "service" / "results" / "soak.md"
EVERY_S = 5.0
WARM_SHARE = 0.2  # of the time, at most
WARM_S = 300.0
FILES = 4


@dataclass(frozen=True)
class Sample:
    at_s: float  # since the beginning
    service_mib: float
    readers_mib: float
    files: int
    threads: int
    processes: int


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


def soak(minutes: float) -> str:
    """Runs the cameras for so long; the page of what was seen."""
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
            return page(watch(one, minutes), one, minutes=minutes)


def watch(one: Town, minutes: float) -> list[Sample]:
    began_s = time.monotonic()
    samples: list[Sample] = []
    while time.monotonic() < began_s + minutes * 60:
        samples.append(sample(one.pid, began_s))
        del one.diary.entries[:-1000]  # this process is not what is watched
        time.sleep(EVERY_S)
    return samples


def slope(samples: list[Sample], of: str) -> float:
    """MiB an hour, by least squares."""
    times_h = [one.at_s / 3600 for one in samples]
    return float(np.polyfit(times_h, [getattr(one, of) for one in samples], 1)[0])


def page(samples: list[Sample], one: Town, *, minutes: float) -> str:
    warm_s = min(WARM_S, WARM_SHARE * minutes * 60)
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    first, last = warm[0], warm[-1]
    rows = [
        f"| {what} | {getattr(first, of):.1f} | {getattr(last, of):.1f} | {slope(warm, of):+.2f} |"
        for what, of in (
            ("memory of the service, MiB", "service_mib"),
            ("memory of its readers, MiB", "readers_mib"),
            ("open files", "files"),
            ("threads", "threads"),
            ("processes", "processes"),
        )
    ]
    assert PASSWORD not in one.running.log.read_text()
    counted = one.samples(STEADY)["throng_frames_counted_total", ""]
    return "\n".join(
        (
            "# Soak",
            "",
            f"{where()}. Made by `python -m tests.faults soak --minutes {minutes:g}`.",
            "",
            f"{FILES} files in a loop and 2 RTSP cameras for {minutes:g} minutes, a "
            f"sample each {EVERY_S:g} s, slope by least squares after {warm_s:.0f} s of warming "
            f"up. The steady camera was counted {counted:.0f} times.",
            "",
            "| | after warming up | at the end | slope an hour |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )
