"""What a camera sends, how it would be read at a rate, and what that costs: `throng probe`."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from models.errors import SourceEnded, SourceError
from service.ingest import SOURCES, Ask, Decoding, Lost, Stream, kind_of, redacted
from service.ingest._pace import ENOUGH

LEAST_S = 0.25  # of the time by which cost is told


@dataclass(frozen=True)
class Probe:
    """None: not known after the time that was given."""

    codec: str
    width: int
    height: int
    fps: float | None
    keyframe_s: float | None
    decoding: Decoding
    source_frames: int
    frames: int
    lost: int
    cpu_ms_per_source_frame: float | None
    core_percent: float | None
    """Of one core, for reading, decoding and scaling at the asked rate. None after too short a
    look: what begins with a burst would be taken for what lasts."""

    @property
    def keyframe_rate(self) -> float | None:
        """Up to this rate key frames alone are enough."""
        return math.floor(100 * ENOUGH / self.keyframe_s) / 100 if self.keyframe_s else None


def probe(ask: Ask, seconds: float, *, tick: Callable[[float], None] = lambda _: None) -> Probe:
    """Read a source as the service would, for so long from its first packet on.

    `tick` is told how many seconds have passed. Raises SourceError where nothing could be read.
    """
    watch = _Meter(ask.rate, seconds, tick)
    try:
        for _ in SOURCES[kind_of(ask.source)](ask, watch):
            watch.frame()
    except SourceEnded:
        if not watch.packets:
            raise
    if watch.known is None:
        raise SourceError("nothing came that could be told apart as pictures")
    return watch.result(watch.known)


def table(said: Probe, ask: Ask) -> Table:
    """For people. The address is shown without its secrets."""
    shown = Table(title=redacted(ask.source), title_justify="left", show_header=False)
    alone = said.decoding == "keyframes"
    for what, value in (
        ("codec", said.codec),
        ("size", f"{said.width} x {said.height}"),
        ("pictures a second", _known(said.fps)),
        ("a key frame every", _known(said.keyframe_s, " s")),
        (
            f"at {ask.rate:g} a second",
            "key frames alone" if alone else "all that due pictures depend on",
        ),
        ("cost of a picture sent", _known(said.cpu_ms_per_source_frame, " ms")),
        ("cost of this camera", _known(said.core_percent, " % of a core")),
        ("frames given, given up", f"{said.frames}, {said.lost}"),
    ):
        shown.add_row(what, value)
    if hint := _hint(said):
        shown.add_row("hint", hint)
    return shown


def _known(value: float | None, unit: str = "") -> str:
    return "not known yet" if value is None else f"{value:g}{unit}"


def _hint(said: Probe) -> str | None:
    if said.decoding == "keyframes" or said.codec == "drawn":
        return None
    if not said.keyframe_rate:
        return "no second key frame was seen: ask for more --seconds"
    return (
        f"up to --rate {said.keyframe_rate:g} key frames alone would do, which is far cheaper;\n"
        "or set a shorter interval of key frames in the camera"
    )


class _Meter:
    """A `service.ingest.Watch` that stops after a time and measures what its thread needs.

    Cost counts from the first frame, before which there is a backlog to read, and anew from where
    decoding changes.
    """

    def __init__(self, rate: float, seconds: float, tick: Callable[[float], None]) -> None:
        self.rate = rate
        self.frames = self.packets = self._lost = 0
        self.known: Stream | None = None
        self._seconds, self._tick = seconds, tick
        self._until_s = math.inf
        self._from = self._now()
        self._sleep = threading.Event()

    @property
    def stopped(self) -> bool:
        return time.monotonic() >= self._until_s

    def wait(self, seconds: float) -> bool:
        self._sleep.wait(max(0.0, min(seconds, self._until_s - time.monotonic())))
        return self.stopped

    def packet(self) -> None:
        at_s = time.monotonic()
        if not self.packets:
            self._until_s = at_s + self._seconds
        self.packets += 1
        self._tick(min(self._seconds, self._seconds - self._until_s + at_s))

    def frame(self) -> None:
        if not self.frames:
            self._from = self._now()
        self.frames += 1

    def stream(self, stream: Stream) -> None:
        if self.known is not None and stream.decoding != self.known.decoding:
            self._from = self._now()
        self.known = stream

    def lost(self, why: Lost) -> None:
        self._lost += 1

    def result(self, stream: Stream) -> Probe:
        wall_s, cpu_s, packets = (
            now - then for now, then in zip(self._now(), self._from, strict=True)
        )
        return Probe(
            codec=stream.codec,
            width=stream.width,
            height=stream.height,
            fps=stream.fps,
            keyframe_s=stream.keyframe_s,
            decoding=stream.decoding,
            source_frames=self.packets,
            frames=self.frames,
            lost=self._lost,
            cpu_ms_per_source_frame=round(1000 * cpu_s / packets, 3) if packets else None,
            core_percent=round(100 * cpu_s / wall_s, 2) if packets and wall_s > LEAST_S else None,
        )

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), time.thread_time(), float(self.packets)
