"""All cameras of this service: adding, removing, watching. Belongs to the event loop."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from models.errors import Overloaded, SourceError
from service.batching import Batcher
from service.camera import CameraLife
from service.counting import CameraLine
from service.hub import COUNTED, Hub
from service.ingest import Frame, Stream, kind_of
from service.reader.process import Attempt
from service.reader.readers import Readers
from service.readings import State
from service.settings import Camera

WATCH_S = 0.25
SILENT_S = 10.0  # nothing came from the camera, not even pictures that are not due
PERIODS = 3  # without a frame: one that is asked for a few a minute is not late after one
VIEW_S = 8.0  # to open another stream and see its first picture


@dataclass(frozen=True)
class _Entry:
    settings: Camera
    line: CameraLine
    life: CameraLife
    task: asyncio.Task[None]


class Cameras:
    """The cameras by name. It is also what their lives talk to (`service.camera.Ears`)."""

    def __init__(
        self,
        hub: Hub,
        batcher: Batcher,
        readers: Readers,
        *,
        line: Callable[[str, Camera], CameraLine],
        most: int,
        max_age_s: float,
    ) -> None:
        self._hub, self._batcher, self._readers = hub, batcher, readers
        self._line, self._most, self._max_age_s = line, most, max_age_s
        self._entries: dict[str, _Entry] = {}
        self._viewed: set[str] = set()  # whose `view` stream is open

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        return sorted(self._entries)

    def settings(self, name: str) -> Camera:
        return self._entries[name].settings

    def reader(self, name: str) -> int | None:
        """The process that reads it now."""
        attempt = self._entries[name].life.attempt
        return attempt.reader if attempt else None

    def add(self, name: str, settings: Camera) -> None:
        """Start a camera; one of that name is replaced. Raises Overloaded at the limit.

        A count is stale after `stale_after_s`, and never before three were due: so say messages,
        pages and metrics.
        """
        stale_after_s = max(settings.stale_after_s, PERIODS / settings.rate)
        settings = settings.model_copy(update={"stale_after_s": stale_after_s})
        if name in self._entries:
            self.remove(name)
        if len(self._entries) >= self._most:
            raise Overloaded(f"{self._most} cameras are the limit (server.max_cameras)")
        self._hub.admit(name, rate=settings.rate, zones=settings.zones, stale_after_s=stale_after_s)
        life = CameraLife(name, settings.ask(max_age_s=self._max_age_s), self, self._readers)
        task = asyncio.create_task(life.live(), name=f"camera {name}")
        self._entries[name] = _Entry(settings, self._line(name, settings), life, task)

    def remove(self, name: str) -> None:
        """Its series vanish at once; its thread in a reader ends when its read does."""
        entry = self._entries.pop(name)
        entry.life.end()
        entry.task.cancel()
        self._batcher.withdraw(name)
        entry.line.close()
        self._hub.forget(name)

    def asked(self) -> dict[str, float]:
        """Counts a second that running cameras are asked for; no more than they have pictures."""
        return {
            name: min(entry.settings.rate, self._fps(name))
            for name, entry in self._entries.items()
            if self._hub.states[name][0] in COUNTED
        }

    def _fps(self, name: str) -> float:
        stream = self._hub.streams.get(name)
        return (stream and stream.fps) or math.inf

    def set_rate(self, name: str, rate: float) -> None:
        """Ask for fewer counts a second than its settings do, or for as many again."""
        life = self._entries[name].life
        if life.rate != rate:
            life.set_rate(rate)
            self._hub.target(name, rate)

    async def view(self, name: str) -> Frame:
        """A picture of its `view` stream, opened for this one picture by a process of its own; of a
        file the picture that was counted last.

        Raises SourceError where the camera does not run, is changed meanwhile, or that stream gives
        none in time; Overloaded where one is being taken already.
        """
        entry, (state, _) = self._entries[name], self._hub.states[name]
        if state not in COUNTED:
            raise SourceError(f"it is {state}")
        if name in self._viewed:
            raise Overloaded(f"a picture of camera {name!r} is being taken already")
        source = entry.settings.source.get_secret_value()
        if entry.settings.view is None and kind_of(source) == "file":
            return self._counted(name)
        self._viewed.add(name)
        try:
            async with asyncio.timeout(VIEW_S), self._readers.openings.place():
                frame = await self._glance(entry.settings)
        except TimeoutError as error:
            raise SourceError(f"no picture within {VIEW_S:g} s") from error
        finally:
            self._viewed.remove(name)
        if self._entries.get(name) is not entry:
            raise SourceError("it was changed or removed meanwhile")
        return frame

    def _counted(self, name: str) -> Frame:
        """The picture that was counted last: a file that is opened anew begins at its beginning."""
        if name not in self._hub.seen:
            raise SourceError("it gave no picture yet")
        seen = self._hub.seen[name]
        return Frame(seen.image_HW3, seen.reading.captured_s, seen.reading.captured_at)

    async def _glance(self, settings: Camera) -> Frame:
        address = (settings.view or settings.source).get_secret_value()
        ask = replace(
            settings.ask(max_age_s=VIEW_S), source=address, size=(1920, 1080), decode="keyframes"
        )
        glance = _Glance()
        attempt = self._readers.begin(ask, glance, alone=True)
        try:
            return await glance.first(attempt)
        finally:
            attempt.stop()

    async def close(self) -> None:
        """End all lives and all reader processes."""
        tasks = [entry.task for entry in self._entries.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._readers.close()

    async def watch(self) -> None:
        """Mark cameras that fell silent, take back counts that grew old. Until cancelled."""
        asked_s = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            now_s = time.monotonic()
            for name, entry in self._entries.items():
                self._look_after(name, entry, now_s)
            if now_s - asked_s < 4 * WATCH_S:  # else we slept too long to judge others
                self._readers.look_after()
            asked_s = now_s

    def _look_after(self, name: str, entry: _Entry, now_s: float) -> None:
        if self._hub.states[name][0] not in COUNTED:
            return
        stale_after_s = entry.settings.stale_after_s
        patience_s = max(stale_after_s, PERIODS / entry.life.rate)
        if now_s - entry.line.last_frame_s > patience_s:
            self._hub.tell(name, "stalled", f"no frame for {patience_s:.0f} s")
        elif entry.life.silent_s > max(SILENT_S, patience_s):
            self._hub.tell(name, "stalled", "nothing comes from the camera")
        elif name in self._hub.seen and self._hub.seen[name].reading.age_s > stale_after_s:
            self._hub.withdraw(name)

    def frame(self, camera: str, frame: Frame) -> None:
        self._entries[camera].line.frame(frame)

    def stream(self, camera: str, stream: Stream) -> None:
        self._hub.stream(camera, stream)

    def lost(self, camera: str, why: str, frames: int) -> None:
        self._batcher.tally.lost(camera, why, frames)
        self._entries[camera].line.lost(why, frames)

    def state(self, camera: str, state: State, reason: str) -> None:
        line = self._entries[camera].line
        if state == "live":
            line.opened()
        else:
            self._hub.tell(camera, state, reason)

    def reconnect(self, camera: str) -> None:
        self._hub.reconnected(camera)


class _Glance:
    """Waits for one frame: see `service.reader.process.Ears`."""

    def __init__(self) -> None:
        self._frame: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

    async def first(self, attempt: Attempt) -> Frame:
        either: list[asyncio.Future[Any]] = [self._frame, attempt.ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._frame.done():
            return self._frame.result()
        raise SourceError(attempt.ended.result().reason)

    def frame(self, frame: Frame) -> None:
        if not self._frame.done():
            self._frame.set_result(frame)

    def stream(self, stream: Stream) -> None:
        """Not wanted here."""

    def lost(self, why: str, frames: int) -> None:
        """Not wanted here."""
