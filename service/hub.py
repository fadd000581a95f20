"""The newest of everything, and who wants to hear of it. Belongs to the event loop.

A listener has one place a camera and kind of message: what it did not fetch in time is replaced by
the next and counted, so a slow browser costs nothing and is never told old news.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from models.density import Map
from service.ingest import Stream
from service.metrics import CameraSeries, Metrics
from service.overlay import Image, Kind, Preview, encode, overlay
from service.readings import SCHEMA, Reading, State

LOG = logging.getLogger(__name__)

FPS_WINDOW_S, FPS_PERIODS = 10.0, 3  # the longer one
COUNTED: tuple[State, ...] = ("live", "dark", "frozen")  # frames come, whatever they show


@dataclass(frozen=True)
class Seen:
    """The last counted frame of a camera: its reading, its picture, its density map, and what may
    be shown of the picture: as the camera was set when it was taken.
    """

    reading: Reading
    image_HW3: Image
    density_hw: Map
    preview: Preview
    _drawn: dict[Kind, asyncio.Task[bytes]] = field(default_factory=dict)

    def drawn(self, kind: Kind, *, stride: int) -> asyncio.Future[bytes]:
        """The density over the picture, drawn once for all who ask, whoever of them leaves."""

        def draw() -> bytes:
            picture_HW3 = overlay(
                self.image_HW3, self.density_hw, preview=self.preview, stride=stride
            )
            return encode(picture_HW3, kind)

        if kind not in self._drawn:
            self._drawn[kind] = asyncio.create_task(asyncio.to_thread(draw))
        return asyncio.shield(self._drawn[kind])


class Listener:
    """One websocket's letter box."""

    def __init__(self, on_replaced: Callable[[], None]) -> None:
        self._letters: dict[tuple[str, str], Any] = {}
        self._ready = asyncio.Event()
        self._on_replaced = on_replaced

    def put(self, camera: str, kind: str, letter: Any) -> None:
        if self._letters.pop((camera, kind), None) is not None:
            self._on_replaced()
        self._letters[camera, kind] = letter
        self._ready.set()

    async def get(self) -> Any:
        """The letter that has waited longest."""
        while not self._letters:
            self._ready.clear()
            await self._ready.wait()
        return self._letters.pop(next(iter(self._letters)))


@dataclass
class _Pace:
    """Counts a second over a window."""

    window_s: float = FPS_WINDOW_S
    times_s: deque[float] = field(default_factory=deque)

    def tick(self, now_s: float) -> float:
        self.times_s.append(now_s)
        return self.at(now_s)

    def at(self, now_s: float) -> float:
        while self.times_s and self.times_s[0] < now_s - self.window_s:
            self.times_s.popleft()
        if len(self.times_s) < 2:
            return 0.0
        return (len(self.times_s) - 1) / max(1e-3, now_s - self.times_s[0])


class Hub:
    """Publishes readings and states to metrics and listeners, and remembers the last of each.

    Nobody else touches a camera's series, so that none outlives its camera.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._listeners: set[Listener] = set()
        self._paces: dict[str, _Pace] = {}
        self._series: dict[str, CameraSeries] = {}
        self.seen: dict[str, Seen] = {}
        self.states: dict[str, tuple[State, str]] = {}
        self.streams: dict[str, Stream] = {}
        self.alone = asyncio.Event()  # set while nobody listens
        self.alone.set()

    def join(self) -> Listener:
        listener = Listener(self._metrics.websocket_dropped.inc)
        self._listeners.add(listener)
        self.alone.clear()
        self._metrics.websocket_clients.set(len(self._listeners))
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners:
            self.alone.set()
        self._metrics.websocket_clients.set(len(self._listeners))

    def admit(
        self, camera: str, *, rate: float, zones: Mapping[str, object], stale_after_s: float
    ) -> None:
        self._series[camera] = CameraSeries(self._metrics, camera)
        self._series[camera].fps_asked.set(rate)
        self._paces[camera] = _Pace()
        self.target(camera, rate)
        self.tell(camera, "connecting", "")
        says = {"rate": rate, "zones": list(zones), "stale_after_ms": round(stale_after_s * 1e3)}
        self._send(camera, "camera", {"state": "connecting", **says})

    def forget(self, camera: str) -> None:
        self._metrics.forget(camera)
        for kept in (self.seen, self.states, self.streams, self._paces, self._series):
            kept.pop(camera, None)
        self._send(camera, "removed", {})
        LOG.info("camera %s: removed", camera)

    def arrived(self, camera: str) -> None:
        """A frame that was due came, to be counted, dropped or failed."""
        self._series[camera].frames.inc()

    def lost(self, camera: str, reason: str, frames: int) -> None:
        """Frames that were due did not even come."""
        dropped = self._series[camera].dropped[reason]
        self._series[camera].frames.inc(frames)
        dropped.inc(frames)

    def dropped(self, camera: str, reason: str) -> None:
        """A frame that came is given up."""
        self._series[camera].dropped[reason].inc()

    def failed(self, camera: str, reason: str) -> None:
        self._series[camera].failed[reason].inc()

    def tick(self, camera: str) -> float:
        """A frame that came was counted: counts a second of this camera now."""
        fps = self._paces[camera].tick(time.monotonic())
        self._series[camera].counted.inc()
        self._series[camera].fps_actual.set(fps)
        return fps

    def target(self, camera: str, rate: float) -> None:
        """Counts a second it is allowed from now on."""
        self._series[camera].fps_target.set(rate)
        self._paces[camera].window_s = max(FPS_WINDOW_S, FPS_PERIODS / rate)

    def publish(self, seen: Seen) -> None:
        reading, camera = seen.reading, seen.reading.camera
        self.seen[camera] = seen
        self._series[camera].show(reading)
        for listener in self._listeners:
            listener.put(camera, "reading", seen)

    def tell(self, camera: str, state: State, reason: str) -> None:
        """A camera changed its state. One that is not live any more has no count either."""
        if self.states.get(camera) == (state, reason):
            return
        self.states[camera] = (state, reason)
        LOG.log(_loud(state), "camera %s: %s%s", camera, state, reason and f" ({reason})")
        self._series[camera].in_state(state)
        if state != "live":
            self._series[camera].withdraw()
            if camera in self.seen:
                last = self.seen[camera]
                self.seen[camera] = replace(last, reading=last.reading.in_state(state))
        if state not in COUNTED:
            self._series[camera].fps_actual.set(0)
        self._send(camera, "state", {"state": state, "reason": reason})

    def stream(self, camera: str, stream: Stream) -> None:
        """What a camera sends is known, or is another than before."""
        if self.streams.get(camera) == stream:
            return
        self.streams[camera] = stream
        self._series[camera].stream(stream.codec, stream.decoding)
        self._send(camera, "stream", described(stream))

    def withdraw(self, camera: str) -> None:
        """Its last count is old: no metric may go on showing it."""
        self._series[camera].withdraw()
        self._series[camera].fps_actual.set(self._paces[camera].at(time.monotonic()))

    def reconnected(self, camera: str) -> None:
        self._series[camera].reconnects.inc()

    def _send(self, camera: str, kind: str, fields: dict[str, Any]) -> None:
        letter = {"type": kind, "schema": SCHEMA, "camera": camera, **fields}
        for listener in self._listeners:
            listener.put(camera, kind, letter)


def _loud(state: State) -> int:
    return logging.INFO if state in ("connecting", "live") else logging.WARNING


def described(stream: Stream) -> dict[str, Any]:
    """As JSON; what was measured is rounded."""
    measured = {"fps": stream.fps, "keyframe_s": stream.keyframe_s}
    rounded = {name: None if one is None else round(one, 2) for name, one in measured.items()}
    return asdict(stream) | rounded
