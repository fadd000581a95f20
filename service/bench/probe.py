"""One run with a number of cameras: what it gave, what it took, and whether they were held."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from models.progress import progress
from service.bench.listening import Heard, Listener, listeners
from service.bench.processor import Memory, Share, Watched, memory, share, snapshot
from service.bench.serving import Load, Service, names, serving

SETTLE_S = 5.0  # after all are live
LIVE_S = 30.0  # for all to be live, and
LIVE_EACH_S = 0.5  # so much more for each camera
STALE_S = 5.0  # the service's own default


@dataclass(frozen=True)
class Goal:
    """When cameras are held."""

    share: float = 0.95  # of the asked rate, by the worst camera
    fresh_s: float = 1.0  # from capture to the listener, for 99 of 100 readings


@dataclass(frozen=True)
class Fresh:
    """From capture to the listener, milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Delivered:
    """What listeners got in a window."""

    counts_per_s: float
    heatmaps_per_s: float
    share: float
    """Of the asked rate, over all cameras."""
    worst_share: float
    """Of the worst camera."""
    fresh: Fresh | None
    """None where not one reading came."""
    silent: Sequence[str]
    """Cameras that were stale, not live or silent for too long."""
    cut_off: str
    """Why a listener's websocket was closed; empty where none was."""


@dataclass(frozen=True)
class Probe:
    cameras: int
    seconds: float
    why: str
    """What was not held; empty where all was."""
    delivered: Delivered | None = None
    processor: Share | None = None
    memory: Memory | None = None
    counters: Mapping[str, float] = field(default_factory=dict)
    """How much the service's own counters rose in the window."""
    runs: tuple[str, str] = ("", "")
    """Engine and precision."""

    @property
    def held(self) -> bool:
        return not self.why

    @property
    def core_percent(self) -> float | None:
        """Of a core, that a camera takes."""
        return 100 * self.processor.service / self.cameras if self.processor else None


@dataclass(frozen=True)
class Prober:
    """Starts the service anew for each probe."""

    load: Load
    goal: Goal = Goal()
    server: int | None = None
    """The process that sends the streams, where it runs on this machine."""

    def probe(self, cameras: int, *, seconds: float) -> Probe:
        """A service that breaks under load is a probe that was not held.

        Raises ConfigError where it does not even start.
        """
        with (
            progress(f"{cameras} cameras", total=math.ceil(seconds)) as tick,
            serving(self.load, cameras) as service,
            listeners(service.websocket, names(cameras)) as open_,
        ):
            try:
                return self._window(service, open_, cameras, seconds, tick)
            except (OSError, _Broken) as error:
                why = service.ended or str(error) or type(error).__name__
                return Probe(cameras, seconds, why)

    def _window(
        self,
        service: Service,
        open_: Sequence[Listener],
        cameras: int,
        seconds: float,
        tick: Callable[[int], None],
    ) -> Probe:
        _await_live(service, cameras)
        _wait(service, SETTLE_S)
        watched = Watched(service.process.pid, [one.pid for one in open_], self.server)
        counted = service.counters()
        before, began_s = snapshot(watched), time.time()
        _wait(service, seconds, tick)
        after, ended_s = snapshot(watched), time.time()
        probe = Probe(
            cameras=cameras,
            seconds=ended_s - began_s,
            why="",
            processor=share(before, after),
            memory=memory(service.process.pid),
            counters={key: n - counted.get(key, 0.0) for key, n in service.counters().items()},
            runs=service.runs(),
        )
        heard = [one.heard() for one in open_]
        rates = dict.fromkeys(names(cameras), self.load.rate)
        delivered = delivered_in(heard, rates, window=(began_s, ended_s))
        return replace(probe, delivered=delivered, why=not_held(delivered, self.goal))


def delivered_in(
    heard: Sequence[Heard], rates: Mapping[str, float], *, window: tuple[float, float]
) -> Delivered:
    """What fell into the window, against the readings a second asked of each camera."""
    began_s, ended_s = window
    seconds = ended_s - began_s
    came: dict[str, list[float]] = {camera: [] for camera in rates}
    before_s: dict[str, float] = {}
    ages_s = []
    for one in heard:
        for camera, received_s, captured_s in one.readings:
            if began_s <= received_s < ended_s and camera in came:
                came[camera].append(received_s)
                ages_s.append(received_s - captured_s)
            elif received_s < began_s:
                before_s[camera] = max(received_s, before_s.get(camera, received_s))
    troubled = {
        camera
        for one in heard
        for camera, at_s, _ in one.troubles
        if began_s <= at_s < ended_s and camera in came
    }
    troubled |= {
        camera
        for camera, times_s in came.items()
        if _silence_s(times_s, window) > max(STALE_S, 3 / rates[camera])
    }
    pictures = sum(began_s <= at_s < ended_s for one in heard for at_s in one.heatmaps_s)
    return Delivered(
        counts_per_s=len(ages_s) / seconds,
        heatmaps_per_s=pictures / seconds,
        share=min(1.0, len(ages_s) / seconds / sum(rates.values())),
        worst_share=min(
            _share(times_s, rates[camera], since_s=before_s.get(camera, began_s), ended_s=ended_s)
            for camera, times_s in came.items()
        ),
        fresh=_fresh(ages_s),
        silent=sorted(troubled),
        cut_off="; ".join(one.ended for one in heard if one.ended),
    )


def not_held(delivered: Delivered, goal: Goal) -> str:
    """The first thing that was missed, in words; empty where all was held."""
    if delivered.cut_off:
        return delivered.cut_off
    if delivered.fresh is None:
        return "no readings came"
    if delivered.silent:
        return f"{len(delivered.silent)} cameras stale or not live"
    if delivered.worst_share < goal.share:
        return f"a camera at {delivered.worst_share:.1%} of its rate"
    if delivered.fresh.p99_ms >= 1e3 * goal.fresh_s:
        return f"p99 of {delivered.fresh.p99_ms:.0f} ms"
    return ""


def _share(times_s: Sequence[float], rate: float, *, since_s: float, ended_s: float) -> float:
    """Of the rate, by the time that so many readings took since the last one before the window.

    To its last one, or until one more was due: no reading is cut in two by an edge.
    """
    until_s = max(times_s[-1] if times_s else since_s, ended_s - 1 / rate)
    return min(1.0, len(times_s) / (rate * max(until_s - since_s, 1 / rate)))


def _silence_s(times_s: Sequence[float], window: tuple[float, float]) -> float:
    marks_s = (window[0], *sorted(times_s), window[1])
    return max(later - earlier for earlier, later in pairwise(marks_s))


def _fresh(ages_s: Sequence[float]) -> Fresh | None:
    if not ages_s:
        return None
    p50, p95, p99 = (float(one) for one in 1e3 * np.percentile(ages_s, (50, 95, 99)))
    return Fresh(p50, p95, p99)


class _Broken(Exception):  # noqa: N818  # says what happened
    """The service did not bear the load."""


def _await_live(service: Service, cameras: int) -> None:
    limit_s = LIVE_S + LIVE_EACH_S * cameras
    deadline_s = time.monotonic() + limit_s
    while sleeping := service.not_live():
        if service.ended or time.monotonic() > deadline_s:
            states = ", ".join(sorted(set(sleeping.values())))
            raise _Broken(f"{len(sleeping)} cameras not live after {limit_s:.0f} s ({states})")
        time.sleep(0.5)


def _wait(service: Service, seconds: float, tick: Callable[[int], None] | None = None) -> None:
    """Ends at once with the service."""
    began_s = time.monotonic()
    while (past_s := time.monotonic() - began_s) < seconds:
        if service.ended:
            raise _Broken
        if tick:
            tick(int(past_s))
        time.sleep(min(0.5, seconds - past_s))
