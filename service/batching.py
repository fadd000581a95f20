"""From newest frames and posted pictures to batches: in turn, bounded, fair.

Each camera has one slot: a newer frame replaces one that nobody took, and that is counted. Posted
pictures wait in a short line and are refused beyond it. Nothing here ever grows.

A camera's turn comes by the capture time of the first frame that it offered since it was last
served; a newer frame keeps that turn. By the frames' own times, a camera of 25 frames a second
would never be served beside many of one: its frame is always the newest.
Shapes: N frames, H x W pixels, h x w cells.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import ParamSpec, Protocol

import numpy as np

from deploy.engines import Ends, Engine, Maps
from models.density import Map
from models.errors import EngineError
from service.metrics import Metrics
from service.pacing import Tally
from service.pieces import Piece
from service.settings import Batching, Priority

LOG = logging.getLogger(__name__)
P = ParamSpec("P")

ENOUGH_FAILURES = 3  # batches in a row that failed: the engine is not ready any more
FORGIVEN_S = 30.0  # after the last of them: where nobody asks, nothing else would show it healed
STUCK_S = 60.0  # one batch for so long: the engine will not come back
HEAD_START_S: dict[Priority, float] = {"low": -1.0, "normal": 0.0, "high": 1.0}
"""Shifts a camera's turn. Nobody starves by it: who has waited so much longer goes first."""
RECENT = 0.1  # weight of the last batch in the mean time of a frame


@dataclass(frozen=True, eq=False)
class Job:
    """One engine input on its way. `camera` is None for a piece of a posted picture."""

    piece: Piece
    since_s: float  # monotonic capture time; arrival for posted pictures
    camera: str | None
    done: "Done"
    priority: Priority = "normal"
    offered_s: float = field(default_factory=time.monotonic)


class Done(Protocol):
    """Told, in the event loop, how a job ended: a map, an error, or the reason it was dropped."""

    def counted(self, density_hw: Map) -> None: ...
    def failed(self, error: EngineError) -> None: ...
    def dropped(self, reason: str) -> None: ...


class Batcher:
    """Keeps the engine's lanes full. All methods belong to the event loop."""

    def __init__(self, engine: Engine, settings: Batching, metrics: Metrics) -> None:
        self._engine, self._settings, self._metrics = engine, settings, metrics
        self._slots: dict[str, Job] = {}
        self._turns: dict[str, float] = {}  # also of cameras whose frame grew stale meanwhile
        self._line: deque[Job] = deque()
        self._picture_was_last = False
        self._arrived = asyncio.Event()
        self._lanes = asyncio.Semaphore(engine.lanes)
        self._under_way: dict[asyncio.Task[None], float] = {}  # since when
        self._frame_s = 0.0  # recent seconds of a lane for a frame
        self.failures_in_a_row = 0
        self._failed_s = 0.0
        self.tally = Tally()

    @property
    def healthy(self) -> bool:
        failing = self.failures_in_a_row >= ENOUGH_FAILURES
        forgiven = time.monotonic() - self._failed_s > FORGIVEN_S
        return not self.over and not self.stuck and (forgiven or not failing)

    @property
    def over(self) -> str | None:
        """Why the engine counts nothing any more, where it says so."""
        return self._engine.over if isinstance(self._engine, Ends) else None

    @property
    def stuck(self) -> bool:
        """The engine has been at one batch for a minute."""
        return self._oldest_s > STUCK_S

    @property
    def _oldest_s(self) -> float:
        """For so long the engine has been at the batch that was begun first."""
        began_s = min(self._under_way.values(), default=None)
        return 0.0 if began_s is None else time.monotonic() - began_s

    @property
    def wait_s(self) -> float:
        """What a picture that is posted now will about wait, cameras' turns included."""
        pictures, cameras = len(self._line), len(self._slots)
        turns = pictures + (max(pictures, cameras) if cameras else 0)
        hangs_s = self._oldest_s if len(self._under_way) >= self._engine.lanes else 0.0
        return turns * self._frame_s / self._engine.lanes + hangs_s

    def offer(self, job: Job) -> None:
        """Put a camera's newest frame in its slot, or a piece of a posted picture in the line."""
        if job.camera is None:
            self._line.append(job)
        else:
            self._turns.setdefault(job.camera, job.since_s - HEAD_START_S[job.priority])
            replaced = self._slots.get(job.camera)
            self._slots[job.camera] = job
            if replaced:
                self._give_up(replaced, "replaced")
        self._arrived.set()

    def withdraw(self, camera: str) -> None:
        """Empty the slot of a camera that is gone."""
        self._turns.pop(camera, None)
        job = self._slots.pop(camera, None)
        if job:
            _tell(job.done.dropped, "removed")

    def recall(self, jobs: Iterable[Job]) -> None:
        """Take pieces out of the line that nobody awaits any more. They are not told."""
        for job in jobs:
            with contextlib.suppress(ValueError):
                self._line.remove(job)

    async def run(self) -> None:
        """Batch until cancelled. A lane is awaited first, so that what it gets is the newest."""
        batch: list[Job] = []
        try:
            while True:
                await self._lanes.acquire()
                batch = [await self._first()]
                if self._engine.batch > 1:
                    await self._fill(batch)
                task = asyncio.create_task(self._count(batch))
                self._under_way[task] = time.monotonic()
                task.add_done_callback(self._under_way.pop)
                batch = []
        finally:
            for job in (*batch, *self._slots.values(), *self._line):
                _tell(job.done.dropped, "removed")
            self._slots.clear()
            self._line.clear()

    async def drain(self) -> None:
        """Wait for what the engine is working on: for ever, where it hangs."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _first(self) -> Job:
        while not (job := self._take()):
            self._arrived.clear()
            await self._arrived.wait()
        return job

    def _take(self) -> Job | None:
        """Who is next, in one order over cameras and pictures.

        Where cameras wait, a picture never follows a picture: a full line is always older than the
        newest frames, and cameras would not be served at all.
        """
        camera = self._next_camera()
        picture = self._line[0] if self._line else None
        if picture and camera:
            behind = picture.since_s > self._turns[camera]
            picture = None if behind or self._picture_was_last else picture
        self._picture_was_last = picture is not None
        job = picture or (self._slots[camera] if camera else None)
        if job:
            self._remove(job)
        return job

    def _next_camera(self) -> str | None:
        """Whose turn it is. Frames that grew stale are given up; their cameras keep their turn."""
        while self._slots:
            camera = min(self._slots, key=self._turns.__getitem__)
            if self._fresh(self._slots[camera]):
                return camera
            self._give_up(self._slots.pop(camera), "stale")
        return None

    def _fresh(self, job: Job) -> bool:
        return time.monotonic() - job.since_s <= self._settings.max_age_s

    def _give_up(self, job: Job, reason: str) -> None:
        self.tally.short += 1
        _tell(job.done.dropped, reason)

    def _remove(self, job: Job) -> None:
        if job.camera is None:
            self._line.remove(job)
        else:
            del self._slots[job.camera], self._turns[job.camera]

    async def _fill(self, batch: list[Job]) -> None:
        """Add frames of the same size until the batch is as the engine likes it, or time is up."""
        deadline_s = time.monotonic() + self._settings.wait_ms / 1e3
        while True:
            fitting = self._fitting(batch[0])
            for job in list(islice(fitting, self._engine.batch - len(batch))):
                self._remove(job)
                batch.append(job)
            if len(batch) == self._engine.batch:
                return
            self._arrived.clear()
            try:
                async with asyncio.timeout(deadline_s - time.monotonic()):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _fitting(self, first: Job) -> Iterable[Job]:
        """Who can join a batch. First its own kind: pictures must not fill the cameras' turns."""
        shape = first.piece.image_HW3.shape
        turns = sorted(self._slots, key=self._turns.__getitem__)
        frames = (self._slots[camera] for camera in turns if self._fresh(self._slots[camera]))
        kinds = (self._line, frames) if first.camera is None else (frames, self._line)
        return (job for job in chain(*kinds) if job.piece.image_HW3.shape == shape)

    async def _count(self, batch: list[Job]) -> None:
        began_s = time.monotonic()
        self._metrics.batch_size.observe(len(batch))
        for job in batch:
            self._metrics.queue_wait.observe(began_s - job.offered_s)
        try:
            maps_Nhw = await self._infer(batch)
        except EngineError as error:
            self.failures_in_a_row += 1
            self._failed_s = time.monotonic()
            for job in batch:
                _tell(job.done.failed, error)
            return
        finally:
            self._lanes.release()
        self.failures_in_a_row = 0
        took_s = time.monotonic() - began_s
        self._metrics.inference.observe(took_s)
        self._frame_s += RECENT * (took_s / len(batch) - self._frame_s)
        for job, density_hw in zip(batch, maps_Nhw, strict=True):
            if job.camera is not None:
                self.tally.counted += 1
                self.tally.waited_s += began_s - job.offered_s
            _tell(job.done.counted, density_hw)

    async def _infer(self, batch: list[Job]) -> Maps:
        if len(batch) == 1:
            frames_NHW3 = batch[0].piece.image_HW3[None]
        else:
            frames_NHW3 = np.stack([job.piece.image_HW3 for job in batch])
        try:
            future: Future[Maps] = self._engine.submit(frames_NHW3)
            maps_Nhw = await asyncio.wrap_future(future)
        except EngineError:
            raise
        except Exception as bug:
            LOG.exception("an engine raised what is no EngineError")
            raise EngineError(f"the engine broke: {type(bug).__name__}") from bug
        if len(maps_Nhw) != len(batch):
            raise EngineError(f"{len(batch)} frames went in and {len(maps_Nhw)} maps came out")
        if not np.isfinite(maps_Nhw).all():
            raise EngineError("the engine counted what is no number")
        return maps_Nhw


def _tell(done: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """A bug in who is told must not stop the counting of everybody else."""
    try:
        done(*args, **kwargs)
    except Exception:
        LOG.exception("a frame's end could not be told")
