"""From density maps to readings and answers: the one place where a count is made.

Shapes: H x W pixels, h x w cells.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Bundle
from models.density import Map, count
from models.errors import EngineError, Overloaded
from models.geometry import cell_mask
from service.batching import Batcher, Job
from service.guards import Guard
from service.history import History
from service.hub import Hub, Seen
from service.ingest import Frame
from service.pieces import Pieces, cut
from service.readings import Invalid, Reading, State
from service.settings import Camera, Settings

Image = NDArray[np.uint8]
SEEING: tuple[State, ...] = ("live", "dark", "frozen", "stalled")  # a frame decides among these
ANSWER_S = 30.0  # for a posted picture: an engine that takes longer hangs
COARSE = 4  # posted pictures come in any size: pad to 4 multiples, so that few graphs serve them


class Zones:
    """A camera's polygons as shares of cells, made once a frame size."""

    def __init__(self, camera: Camera) -> None:
        self._polygons = {name: zone.polygon for name, zone in camera.zones.items()}
        self._masks: dict[str, Map] = {}
        self._shape: tuple[int, ...] = ()

    def counts(self, density_hw: Map) -> dict[str, float]:
        if density_hw.shape != self._shape:
            self._shape = density_hw.shape
            height, width = density_hw.shape
            self._masks = {
                name: cell_mask(polygon, shape_hw=(height, width))
                for name, polygon in self._polygons.items()
            }
        return {name: count(density_hw * mask) for name, mask in self._masks.items()}


@dataclass(frozen=True)
class _Counted:
    """Where the density map of one camera frame goes: see `service.batching.Done`."""

    line: "CameraLine"
    frame: Frame
    pieces: Pieces
    invalid: Invalid | None

    def counted(self, density_hw: Map) -> None:
        self.line.counted(self, density_hw)

    def failed(self, error: EngineError) -> None:
        self.line.failed()

    def dropped(self, reason: str) -> None:
        self.line.dropped(reason)


@dataclass(frozen=True)
class Wiring:
    """What every camera's line is connected to."""

    bundle: Bundle
    batcher: Batcher
    hub: Hub
    history: History


class CameraLine:
    """One camera's frames on their way to readings. Belongs to the event loop."""

    def __init__(self, name: str, camera: Camera, wiring: Wiring) -> None:
        self.name, self._camera, self._wiring = name, camera, wiring
        self._zones = Zones(camera)
        self._guard = Guard(frozen_after_s=camera.frozen_after_s)
        self._seq = 0
        self._closed = False
        self.last_frame_s = time.monotonic()

    def close(self) -> None:
        """The camera is gone: what is still in the engine tells nobody and makes no series."""
        self._closed = True

    def opened(self) -> None:
        """Its source gives frames: it is live, or still what its pictures were before."""
        if not self._closed:
            self._wiring.hub.tell(self.name, *self._state())

    def frame(self, frame: Frame) -> None:
        """A source gave a frame: into the slot. A camera that was stalled has come back."""
        if self._closed:
            return
        hub = self._wiring.hub
        self.last_frame_s = time.monotonic()
        hub.arrived(self.name)
        invalid = self._look(frame)
        if hub.states[self.name][0] in SEEING:
            self.opened()
        rule = self._wiring.bundle.manifest.input
        pieces = cut(frame.image_HW3, rule, tile_px=max(self._camera.size))
        done = _Counted(self, frame, pieces, invalid)
        job = Job(
            pieces.pieces[0], frame.captured_s, self.name, done, priority=self._camera.priority
        )
        self._wiring.batcher.offer(job)

    def lost(self, reason: str, frames: int = 1) -> None:
        """Frames that were due and given up before they came here. Reasons: `metrics.DROPS`."""
        if not self._closed:
            self._wiring.hub.lost(self.name, reason, frames)

    def counted(self, one: _Counted, density_hw: Map) -> None:
        wiring, frame = self._wiring, one.frame
        if self._closed:
            return
        fps = wiring.hub.tick(self.name)
        density_hw = one.pieces.join([density_hw], wiring.bundle.manifest.input.stride)
        people = count(density_hw)
        self._seq += 1
        reading = Reading(
            camera=self.name,
            seq=self._seq,
            captured_at=frame.captured_at,
            captured_s=frame.captured_s,
            count=people,
            interval=wiring.bundle.manifest.interval.around(people),
            zones=self._zones.counts(density_hw),
            fps=fps,
            state=wiring.hub.states[self.name][0],
            stale_after_s=self._camera.stale_after_s,
            truth=frame.truth,
            invalid=one.invalid,
        )
        wiring.hub.publish(Seen(reading, frame.image_HW3, density_hw, self._camera.preview))
        if reading.valid:
            wiring.history.add(reading)

    def failed(self) -> None:
        if not self._closed:
            self._wiring.hub.failed(self.name, "engine")

    def dropped(self, reason: str) -> None:
        if not self._closed:
            self._wiring.hub.dropped(self.name, reason)

    def _look(self, frame: Frame) -> Invalid | None:
        looks = self._camera.check_picture
        fault = self._guard.look(frame.image_HW3, frame.captured_s) if looks else None
        return fault or ("damaged" if frame.damaged else None)

    def _state(self) -> tuple[State, str]:
        """What its pictures make of it: a fault is a state only once it lasts."""
        match self._guard.lasting:
            case None:
                return "live", ""
            case "frozen":
                return "frozen", f"the same picture for {self._camera.frozen_after_s:g} s"
            case "covered":
                return "dark", "the camera is covered"
            case fault:
                return "dark", f"the picture is {fault}"


@dataclass(frozen=True)
class Answer:
    """What a posted picture gave."""

    density_hw: Map
    count: float
    interval: tuple[float, float]
    counting_ms: float


class PictureCounter:
    """Counts posted pictures through the cameras' batcher; refuses when too many wait."""

    def __init__(self, settings: Settings, bundle: Bundle, batcher: Batcher) -> None:
        self._server, self._bundle, self._batcher = settings.server, bundle, batcher
        self._waiting = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the line, taken before the upload is read. Raises Overloaded without one."""
        if self._waiting >= self._server.waiting_pictures:
            raise Overloaded(f"{self._waiting} pictures are in work already: try again shortly")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def count(self, image_HW3: Image) -> Answer:
        """Raises EngineError where the engine fails on a piece of it, Overloaded where it hangs."""
        began_s = time.monotonic()
        rule = self._bundle.manifest.input
        pieces = await asyncio.to_thread(
            cut, image_HW3, rule, max_side=self._server.max_picture_side, coarse=COARSE
        )
        waits = [_Awaited(asyncio.get_running_loop().create_future()) for _ in pieces.pieces]
        jobs = [
            Job(piece, time.monotonic(), None, wait)
            for piece, wait in zip(pieces.pieces, waits, strict=True)
        ]
        for job in jobs:
            self._batcher.offer(job)
        try:
            async with asyncio.timeout(ANSWER_S):
                maps = await asyncio.gather(*(wait.future for wait in waits))
        except TimeoutError as error:
            says = f"the engine gave no answer within {ANSWER_S:g} s: try again later"
            raise Overloaded(says) from error
        finally:
            self._batcher.recall(jobs)  # where one failed, or the client is gone
        density_hw = pieces.join(maps, rule.stride)
        people = count(density_hw)
        return Answer(
            density_hw=density_hw,
            count=people,
            interval=self._bundle.manifest.interval.around(people),
            counting_ms=(time.monotonic() - began_s) * 1e3,
        )


@dataclass(frozen=True)
class _Awaited:
    """A piece of a posted picture, awaited by its request: see `service.batching.Done`."""

    future: asyncio.Future[Map]

    def counted(self, density_hw: Map) -> None:
        if not self.future.done():
            self.future.set_result(density_hw)

    def failed(self, error: EngineError) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def dropped(self, reason: str) -> None:
        self.failed(EngineError(f"a piece of the picture was dropped: {reason}"))
