"""The whole of `throng bench`: floor, search, confirmation, and the same at part of the load."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.bundle import open_bundle
from models.errors import ConfigError
from models.machine import commit_here, machine, versions
from service.bench.floor import Floor, measure
from service.bench.probe import Goal, Probe, Prober
from service.bench.search import confirmed, most_held
from service.bench.serving import Load, cold_start_s
from service.ingest import kind_of
from service.settings import settings_of

SHORT_S = 15.0  # windows of the search; what it finds is confirmed by a long one
READINGS = 25  # of each camera at least: that one is lost must not decide the search


@dataclass(frozen=True)
class Plan:
    """How the number of cameras is found."""

    start: int = 4
    most: int = 256
    cameras: int | None = None
    """A fixed number: no search."""
    seconds: float = 60.0
    """The window that counts."""
    part: float = 0.7
    """The share of the cameras held at which latency is measured once more."""


@dataclass(frozen=True)
class Report:
    """What was found, and all that one must know to compare it with another."""

    made_by: str
    """The command, without addresses."""
    date: str
    commit: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    sources: Sequence[str]
    """Their kinds; never their addresses."""
    load: Load
    goal: Goal
    floor: Floor
    cold_start_s: float
    """From the start of the service to the first count of one camera."""
    held: int
    full: Probe
    """The long window at the most cameras held, or the last one tried where none were."""
    part: Probe | None
    probes: Sequence[Probe]
    """All that were tried, in order."""

    @property
    def runs(self) -> tuple[str, str]:
        """Engine and precision, as the service chose them."""
        return next((probe.runs for probe in self.probes if probe.runs[0]), ("", ""))

    def plain(self) -> dict[str, Any]:
        """As JSON: without the addresses of the sources."""
        plain = asdict(self)
        del plain["load"]["sources"]
        for probe, of in zip(plain["probes"], self.probes, strict=True):
            probe.update(_worked_out(of))
        plain["full"].update(_worked_out(self.full))
        if self.part:
            plain["part"].update(_worked_out(self.part))
        return plain


def bench(prober: Prober, plan: Plan, say: Callable[[str], None], *, made_by: str) -> Report:
    """Takes minutes. `say` is told of each probe in a line. See `check` first.

    Raises ConfigError where a source cannot be read or the service does not start.
    """
    floor = measure(prober.load.sources)
    say(f"decoding every picture: {floor.cameras:.1f} cameras on {floor.cores} cores")
    start_s = cold_start_s(prober.load)
    say(f"from start to first count: {start_s:.2f} s")
    tried: list[Probe] = []

    def holds(cameras: int, seconds: float) -> bool:
        tried.append(prober.probe(cameras, seconds=seconds))
        say(told(tried[-1]))
        return tried[-1].held

    if plan.cameras is None:
        short_s = max(SHORT_S, READINGS / prober.load.rate)
        found = most_held(lambda n: holds(n, short_s), start=plan.start, most=plan.most)
        held = confirmed(lambda n: holds(n, plan.seconds), found)
    else:
        held = plan.cameras if holds(plan.cameras, plan.seconds) else 0
    full = tried[-1]
    less = round(plan.part * held)
    if 0 < less < held:
        holds(less, plan.seconds)
    return Report(
        made_by=made_by,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit_here(),
        machine=machine(),
        versions=versions(),
        sources=[kind_of(source) for source in prober.load.sources],
        load=prober.load,
        goal=prober.goal,
        floor=floor,
        cold_start_s=start_s,
        held=held,
        full=full,
        part=tried[-1] if 0 < less < held else None,
        probes=tried,
    )


def check(prober: Prober, plan: Plan) -> None:
    """Whatever can be wrong at once is told before minutes have passed.

    Raises ConfigError for what cannot be asked, BundleError for a bundle that cannot be used.
    """
    if plan.cameras is None and plan.start > plan.most:
        raise ConfigError(f"--start {plan.start}: wanted at most --most, which is {plan.most}")
    if prober.server is not None and not Path(f"/proc/{prober.server}").exists():
        raise ConfigError(f"--server-pid {prober.server}: there is no such process")
    settings_of(prober.load.settings(1), "bench")
    open_bundle(prober.load.bundle)


def told(probe: Probe) -> str:
    """A probe in a line."""
    how = "held" if probe.held else f"not held: {probe.why}"
    got = probe.delivered
    if got is None or got.fresh is None:
        return f"{probe.cameras} cameras: {how}"
    return (
        f"{probe.cameras} cameras, {probe.seconds:.0f} s: {how}; {got.counts_per_s:.1f} counts/s, "
        f"end to end p50 {got.fresh.p50_ms:.0f} ms, p99 {got.fresh.p99_ms:.0f} ms"
    )


def _worked_out(probe: Probe) -> dict[str, Any]:
    return {"held": probe.held, "core_percent": probe.core_percent}
