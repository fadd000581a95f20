"""A batcher at work, and what its frames were told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from prometheus_client import CollectorRegistry

from models.density import Map, count
from models.errors import EngineError
from service.batching import Batcher, Job
from service.metrics import Metrics
from service.pieces import cut
from service.settings import Batching
from tests.fakes import RULE, FakeEngine, solid

PATIENT = Batching(max_age_s=1000)


@dataclass(eq=False)
class Ends:
    """Notes how the jobs ended: a grey, `failed`, or the reason of a drop."""

    told: list[str | int] = field(default_factory=list)

    def counted(self, density_hw: Map) -> None:
        self.told.append(round(count(density_hw) / density_hw.size * 1000))

    def failed(self, error: EngineError) -> None:
        self.told.append("failed")

    def dropped(self, reason: str) -> None:
        self.told.append(reason)


class Broken(Ends):
    """A bug in whoever is told."""

    def counted(self, density_hw: Map) -> None:
        super().counted(density_hw)
        raise ZeroDivisionError

    def failed(self, error: EngineError) -> None:
        super().failed(error)
        raise ZeroDivisionError

    def dropped(self, reason: str) -> None:
        super().dropped(reason)
        raise ZeroDivisionError


def job(
    grey: int, ends: Ends, camera: str | None = None, *, age_s: float = 0.0, side: int = 16
) -> Job:
    piece = cut(solid(grey, (side, side)), RULE).pieces[0]
    return Job(piece, time.monotonic() - age_s, camera, ends)


@asynccontextmanager
async def running(engine: FakeEngine, settings: Batching = PATIENT) -> AsyncIterator[Batcher]:
    batcher = Batcher(engine, settings, Metrics(CollectorRegistry()))
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher
        assert not task.done(), "the batcher died"
    finally:
        task.cancel()
        engine.release()
        await batcher.drain()
        engine.close()


async def settled() -> None:
    """Let the loop do all that it can do without the engine."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop and the engine's threads go on until something holds."""
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110  # engines answer from threads
            await anyio.sleep(0.001)


async def occupied(batcher: Batcher, engine: FakeEngine, ends: Ends) -> None:
    """Shut the gate with one batch a lane behind it."""
    engine.hold()
    before = len(engine.shapes)
    for lane in range(engine.lanes):
        batcher.offer(job(1, ends, f"first {lane}"))
        await until(lambda lane=lane: len(engine.shapes) == before + lane + 1)  # type: ignore[misc]
