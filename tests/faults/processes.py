"""What a process and its children hold, as Linux tells it."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Held:
    """By a process and all its children together."""

    files: int  # open file descriptors
    threads: int
    processes: int

    def exceeds(self, other: "Held") -> bool:
        """Whether it holds more of anything."""
        return (
            self.files > other.files
            or self.threads > other.threads
            or self.processes > other.processes
        )


def children(pid: int) -> list[int]:
    """Direct children, of all its threads."""
    return [
        int(child)
        for task in (PROC / str(pid) / "task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def held(pid: int) -> Held:
    family = [pid, *children(pid)]
    return Held(
        files=sum(len(list((PROC / str(one) / "fd").iterdir())) for one in family),
        threads=sum(len(list((PROC / str(one) / "task").iterdir())) for one in family),
        processes=len(family),
    )


def rss_mib(pid: int) -> float:
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_MIB


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and waits to be collected does not."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
