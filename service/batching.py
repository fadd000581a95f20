"""From newest frames and posted pictures to batches: oldest capture first, bounded, fair.

Each camera has one slot: a newer frame replaces one that nobody took, and that is counted. Posted
pictures wait in a short line and are refused beyond it. Nothing here ever grows.
Shapes: N frames, H x W pixels, h x w cells.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import ParamSpec, Protocol

import numpy as np

from deploy.engines import Engine, Maps
from models.density import Map
from models.errors import EngineError
from service.metrics import Metrics
from service.pieces import Piece
from service.settings import Batching

LOG = logging.getLogger(__name__)
P = ParamSpec("P")

ENOUGH_FAILURES = 3  # batches in a row that failed: the engine is not ready any more


@dataclass(frozen=True, eq=False)
class Job:
    """One engine input on its way. `camera` is None for a piece of a posted picture."""

    piece: Piece
    since_s: float  # monotonic capture time; arrival for posted pictures
    camera: str | None
    done: "Done"


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
        self._line: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._lanes = asyncio.Semaphore(engine.lanes)
        self._under_way: set[asyncio.Task[None]] = set()
        self.failures_in_a_row = 0

    @property
    def healthy(self) -> bool:
        return self.failures_in_a_row < ENOUGH_FAILURES

    def offer(self, job: Job) -> None:
        """Put a camera's newest frame in its slot, or a piece of a posted picture in the line."""
        if job.camera is None:
            self._line.append(job)
        else:
            replaced = self._slots.pop(job.camera, None)
            self._slots[job.camera] = job
            if replaced:
                _tell(replaced.done.dropped, "replaced")
        self._arrived.set()

    def withdraw(self, camera: str) -> None:
        """Empty the slot of a camera that is gone."""
        job = self._slots.pop(camera, None)
        if job:
            _tell(job.done.dropped, "removed")

    async def run(self) -> None:
        """Batch until cancelled. A lane is awaited first, so that what it gets is the newest."""
        while True:
            await self._lanes.acquire()
            batch = await self._next_batch()
            task = asyncio.create_task(self._count(batch))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def drain(self) -> None:
        """Wait for what the engine is working on."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _next_batch(self) -> list[Job]:
        while not (first := self._take_oldest()):
            self._arrived.clear()
            await self._arrived.wait()
        batch = [first]
        if self._engine.batch > 1:
            await self._fill(batch)
        return batch

    def _take_oldest(self) -> Job | None:
        """The oldest capture that is still fresh, in one fair order over cameras and pictures."""
        deadline_s = time.monotonic() - self._settings.max_age_s
        for camera, job in list(self._slots.items()):
            if job.since_s < deadline_s:
                del self._slots[camera]
                _tell(job.done.dropped, "stale")
        waiting = [*self._slots.values(), *list(self._line)[:1]]
        if not waiting:
            return None
        job = min(waiting, key=lambda one: one.since_s)
        self._remove(job)
        return job

    def _remove(self, job: Job) -> None:
        if job.camera is None:
            self._line.remove(job)
        else:
            del self._slots[job.camera]

    async def _fill(self, batch: list[Job]) -> None:
        """Add frames of the same size until the batch is as the engine likes it, or time is up."""
        deadline_s = time.monotonic() + self._settings.wait_ms / 1e3
        shape = batch[0].piece.image_HW3.shape
        while True:
            fitting = [
                job
                for job in (*self._slots.values(), *self._line)
                if job.piece.image_HW3.shape == shape
            ]
            for job in sorted(fitting, key=lambda one: one.since_s)[
                : self._engine.batch - len(batch)
            ]:
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

    async def _count(self, batch: list[Job]) -> None:
        began_s = time.monotonic()
        self._metrics.batch_size.observe(len(batch))
        for job in batch:
            self._metrics.queue_wait.observe(began_s - job.since_s)
        try:
            maps_Nhw = await self._infer(batch)
        except EngineError as error:
            self.failures_in_a_row += 1
            for job in batch:
                _tell(job.done.failed, error)
            return
        finally:
            self._lanes.release()
        self.failures_in_a_row = 0
        self._metrics.inference.observe(time.monotonic() - began_s)
        for job, density_hw in zip(batch, maps_Nhw, strict=True):
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
        return maps_Nhw


def _tell(done: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """A bug in who is told must not stop the counting of everybody else."""
    try:
        done(*args, **kwargs)
    except Exception:
        LOG.exception("a frame's end could not be told")
