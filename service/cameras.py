"""All cameras of this service: adding, removing, watching. Belongs to the event loop.

Cameras live in threads of their own; what they say is handed to the loop, nothing else is shared.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from models.errors import Overloaded
from service.batching import Batcher
from service.camera import CameraThread
from service.counting import CameraLine
from service.hub import Hub
from service.ingest import Frame
from service.readings import State
from service.settings import Camera

WATCH_S = 0.25


@dataclass(frozen=True)
class _Entry:
    settings: Camera
    line: CameraLine
    thread: CameraThread


class Cameras:
    """The cameras by name. It is also what their threads talk to (`service.camera.Ears`)."""

    def __init__(
        self, hub: Hub, batcher: Batcher, *, line: Callable[[str, Camera], CameraLine], most: int
    ) -> None:
        self._hub, self._batcher, self._line, self._most = hub, batcher, line, most
        self._entries: dict[str, _Entry] = {}
        self._loop = asyncio.get_running_loop()

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        return sorted(self._entries)

    def settings(self, name: str) -> Camera:
        return self._entries[name].settings

    def add(self, name: str, settings: Camera) -> None:
        """Start a camera; one of that name is replaced. Raises Overloaded at the limit."""
        if name in self._entries:
            self.remove(name)
        if len(self._entries) >= self._most:
            raise Overloaded(f"{self._most} cameras are the limit (server.max_cameras)")
        thread = CameraThread(name, settings, self)
        self._entries[name] = _Entry(settings, self._line(name, settings), thread)
        self._hub.admit(name, rate=settings.rate, zones=settings.zones)
        thread.start()

    def remove(self, name: str) -> None:
        """Its series vanish at once; its thread ends when its read does."""
        entry = self._entries.pop(name)
        entry.thread.stop()
        self._batcher.withdraw(name)
        entry.line.close()
        self._hub.forget(name)

    def close(self) -> None:
        for entry in self._entries.values():
            entry.thread.stop()
        for entry in self._entries.values():
            entry.thread.join(timeout_s=0.5)

    async def watch(self) -> None:
        """Mark cameras that fell silent, and take back counts that grew old. Until cancelled."""
        while True:
            now_s = time.monotonic()
            for name, entry in self._entries.items():
                self._look_after(name, entry, now_s)
            await asyncio.sleep(WATCH_S)

    def _look_after(self, name: str, entry: _Entry, now_s: float) -> None:
        if self._hub.states[name][0] != "live":
            return
        patience_s = max(entry.settings.stale_after_s, 3 / entry.settings.rate)
        silent_s = now_s - entry.line.last_frame_s
        if silent_s > patience_s:
            self._hub.tell(name, "stalled", f"no frame for {patience_s:.0f} s")
        elif name in self._hub.seen and self._hub.seen[name].reading.age_s > patience_s:
            self._hub.withdraw(name)

    def frame(self, camera: str, frame: Frame) -> None:
        self._hand_over(self._on_frame, camera, frame)

    def state(self, camera: str, state: State, reason: str) -> None:
        self._hand_over(self._on_state, camera, state, reason)

    def reconnect(self, camera: str) -> None:
        self._hand_over(self._on_reconnect, camera)

    def _hand_over(self, call: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    def _on_frame(self, camera: str, frame: Frame) -> None:
        if camera in self._entries:
            if self._hub.states[camera][0] == "stalled":
                self._hub.tell(camera, "live", "")
            self._entries[camera].line.frame(frame)

    def _on_state(self, camera: str, state: State, reason: str) -> None:
        if camera in self._entries:
            self._entries[camera].line.last_frame_s = time.monotonic()
            self._hub.tell(camera, state, reason)

    def _on_reconnect(self, camera: str) -> None:
        if camera in self._entries:
            self._hub.reconnected(camera)
