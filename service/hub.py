"""The newest of everything, and who wants to hear of it. Belongs to the event loop.

A listener has one place a camera and kind of message: what it did not fetch in time is replaced by
the next and counted, so a slow browser costs nothing and is never told old news.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.density import Map
from service.metrics import Metrics
from service.overlay import Image
from service.readings import SCHEMA, Reading, State

FPS_WINDOW_S = 10.0


@dataclass(frozen=True)
class Seen:
    """The last counted frame of a camera: its reading, its picture, its density map."""

    reading: Reading
    image_HW3: Image
    density_hw: Map


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
    """Counts a second over the last ten seconds."""

    times_s: deque[float] = field(default_factory=deque)

    def tick(self, now_s: float) -> float:
        self.times_s.append(now_s)
        return self.at(now_s)

    def at(self, now_s: float) -> float:
        while self.times_s and self.times_s[0] < now_s - FPS_WINDOW_S:
            self.times_s.popleft()
        if len(self.times_s) < 2:
            return 0.0
        return (len(self.times_s) - 1) / max(1e-3, now_s - self.times_s[0])


class Hub:
    """Publishes readings and states to metrics and listeners, and remembers the last of each."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._listeners: set[Listener] = set()
        self._paces: dict[str, _Pace] = {}
        self.seen: dict[str, Seen] = {}
        self.states: dict[str, tuple[State, str]] = {}
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

    def admit(self, camera: str, *, rate: float, zones: Mapping[str, object]) -> None:
        self._metrics.admit(camera)
        self._metrics.fps_target.labels(camera).set(rate)
        self._paces[camera] = _Pace()
        self.tell(camera, "connecting", "")
        self._send(camera, "camera", {"state": "connecting", "rate": rate, "zones": list(zones)})

    def forget(self, camera: str) -> None:
        self._metrics.forget(camera)
        for kept in (self.seen, self.states, self._paces):
            kept.pop(camera, None)
        self._send(camera, "removed", {})

    def tick(self, camera: str) -> float:
        """A frame of this camera was counted: its counts a second now."""
        fps = self._paces[camera].tick(time.monotonic())
        self._metrics.fps.labels(camera).set(fps)
        return fps

    def publish(self, seen: Seen) -> None:
        reading, camera = seen.reading, seen.reading.camera
        self.seen[camera] = seen
        self._show(reading)
        for listener in self._listeners:
            listener.put(camera, "reading", seen)

    def _show(self, reading: Reading) -> None:
        """In the metrics. A frame that was under way when its camera went down shows no count."""
        metrics, camera = self._metrics, reading.camera
        metrics.reading_timestamp.labels(camera).set(reading.captured_at.timestamp())
        metrics.end_to_end.labels(camera).observe(reading.age_s)
        if reading.state != "live":
            return
        metrics.people.labels(camera).set(reading.count)
        metrics.people_low.labels(camera).set(reading.interval[0])
        metrics.people_high.labels(camera).set(reading.interval[1])
        for zone, people in reading.zones.items():
            metrics.zone_people.labels(camera, zone).set(people)

    def tell(self, camera: str, state: State, reason: str) -> None:
        """A camera changed its state. One that is not live any more has no count either."""
        if self.states.get(camera) == (state, reason):
            return
        self.states[camera] = (state, reason)
        self._metrics.set_state(camera, state)
        if state != "live":
            self.withdraw(camera)
            if camera in self.seen:
                last = self.seen[camera]
                kept = Seen(last.reading.in_state(state), last.image_HW3, last.density_hw)
                self.seen[camera] = kept
        self._send(camera, "state", {"state": state, "reason": reason})

    def withdraw(self, camera: str) -> None:
        """Its last count is old: no metric may go on showing it."""
        self._metrics.withdraw(camera)
        self._metrics.fps.labels(camera).set(0)

    def reconnected(self, camera: str) -> None:
        self._metrics.reconnects.labels(camera).inc()

    def _send(self, camera: str, kind: str, fields: dict[str, Any]) -> None:
        letter = {"type": kind, "schema": SCHEMA, "camera": camera, **fields}
        for listener in self._listeners:
            listener.put(camera, kind, letter)
