"""Who had the processor, and how much memory: read from /proc, of other processes too.

Times are seconds of processor time since a process began; two snapshots make a window.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
KIB_MB = 1024 / 1e6
PROC = Path("/proc")

STAGES = ("readers", "engine", "event loop", "workers", "history", "other threads")
_NAMED = {
    "openvino": "engine",
    "onnxruntime": "engine",
    "tensorrt": "engine",
    "torch": "engine",
    "asyncio_": "workers",  # heatmaps and posted pictures
    "AnyIO": "workers",
    "history": "history",
}


@dataclass(frozen=True)
class Watched:
    """The processes of a run. Each stands for its descendants, too."""

    service: int
    clients: Sequence[int]
    server: int | None = None  # not ours: what sends the streams, where it runs here


@dataclass(frozen=True)
class Snapshot:
    at_s: float
    stages: Mapping[str, float]
    clients_s: float
    server_s: float
    busy_s: float  # of the whole machine, stolen time included


@dataclass(frozen=True)
class Share:
    """Cores that were kept busy, on average over a window."""

    stages: Mapping[str, float]
    clients: float
    server: float
    others: float

    @property
    def service(self) -> float:
        return sum(self.stages.values())


@dataclass(frozen=True)
class Memory:
    service_mb: float
    readers_mb: Sequence[float]
    together_mb: float | None
    """Of all of them, pages that they share counted once; None where the kernel does not say."""


@dataclass(frozen=True)
class _Process:
    parent: int
    own_s: float
    gone_children_s: float

    @property
    def all_s(self) -> float:
        return self.own_s + self.gone_children_s


def snapshot(watched: Watched) -> Snapshot:
    """Raises ProcessLookupError where the service has ended."""
    processes = _processes()
    if watched.service not in processes:
        raise ProcessLookupError(watched.service)
    server = _family_s(processes, [watched.server]) if watched.server else 0.0
    return Snapshot(
        at_s=time.monotonic(),
        stages=_stages(watched.service, processes),
        clients_s=_family_s(processes, [os.getpid(), *watched.clients], children=False),
        server_s=server,
        busy_s=_busy_s(),
    )


def share(before: Snapshot, after: Snapshot) -> Share:
    seconds = after.at_s - before.at_s
    stages = {
        stage: max(0.0, after.stages[stage] - before.stages[stage]) / seconds for stage in STAGES
    }
    clients = (after.clients_s - before.clients_s) / seconds
    server = max(0.0, after.server_s - before.server_s) / seconds
    busy = (after.busy_s - before.busy_s) / seconds
    others = max(0.0, busy - clients - server - sum(stages.values()))
    return Share(stages, clients=clients, server=server, others=others)


def memory(service: int) -> Memory:
    """Readers are the service's child processes and theirs."""
    readers = descendants(service, _processes())
    shares = [_pss_mb(pid) for pid in (service, *readers)]
    known = [one for one in shares if one is not None]
    return Memory(
        service_mb=_rss_mb(service),
        readers_mb=[_rss_mb(pid) for pid in readers],
        together_mb=sum(known) if len(known) == len(shares) else None,
    )


def descendants(of: int, processes: Mapping[int, _Process] | None = None) -> list[int]:
    processes = _processes() if processes is None else processes
    found = [of]
    for pid in found:
        found += [child for child, process in processes.items() if process.parent == pid]
    return found[1:]


def stage_of(name: str, *, main: bool) -> str:
    """What a thread of the service does, by the name that /proc gives it (15 bytes)."""
    if main:
        return "event loop"
    return next((stage for start, stage in _NAMED.items() if name.startswith(start)), STAGES[-1])


def _stages(service: int, processes: Mapping[int, _Process]) -> dict[str, float]:
    """Threads that ended within a window are among the other threads: only the sum knows them."""
    process = processes[service]
    stages = dict.fromkeys(STAGES, 0.0)
    stages["readers"] = process.gone_children_s + sum(
        processes[pid].all_s for pid in descendants(service, processes)
    )
    for folder in (PROC / str(service) / "task").iterdir():
        try:
            name, fields = _stat(folder / "stat")
        except OSError:  # it ended meanwhile
            continue
        seconds = (int(fields[11]) + int(fields[12])) * TICK_S
        stages[stage_of(name, main=folder.name == str(service))] += seconds
    named = sum(seconds for stage, seconds in stages.items() if stage != "readers")
    stages[STAGES[-1]] += max(0.0, process.own_s - named)
    return stages


def _processes() -> dict[int, _Process]:
    found = {}
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            _, fields = _stat(folder / "stat")
        except OSError:
            continue
        user, system, gone_user, gone_system = (int(text) * TICK_S for text in fields[11:15])
        found[int(folder.name)] = _Process(int(fields[1]), user + system, gone_user + gone_system)
    return found


def _stat(path: Path) -> tuple[str, list[str]]:
    """A name may hold spaces and brackets; the fields begin after the last bracket."""
    head, _, tail = path.read_text(encoding="utf-8", errors="replace").rpartition(")")
    return head.partition("(")[2], tail.split()


def _family_s(
    processes: Mapping[int, _Process], pids: Iterable[int], *, children: bool = True
) -> float:
    family = {pid for one in pids for pid in (one, *(descendants(one, processes) * children))}
    return sum(
        processes[pid].all_s if children else processes[pid].own_s
        for pid in family
        if pid in processes
    )


def _busy_s() -> float:
    _, user, nice, system, _, _, *more = (PROC / "stat").read_text("ascii").split()[:9]
    return sum(map(int, (user, nice, system, *more))) * TICK_S


def _rss_mb(pid: int) -> float:
    return _kib(PROC / str(pid) / "status", "VmRSS:") * KIB_MB


def _pss_mb(pid: int) -> float | None:
    try:
        return _kib(PROC / str(pid) / "smaps_rollup", "Pss:") * KIB_MB
    except OSError:
        return None


def _kib(path: Path, key: str) -> float:
    lines = path.read_text("ascii", errors="replace").splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(key)), 0.0)
