"""The service as one ASGI application: builds the parts, runs them, ends them in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, ProcessCollector

from deploy.bundle import Bundle
from deploy.engines import Engine
from service import VERSION, problems
from service.batching import Batcher
from service.bodies import BoundedBodies
from service.cameras import Cameras
from service.counting import CameraLine, PictureCounter, Wiring
from service.following import SettingsFile
from service.history import History
from service.hub import Hub
from service.metrics import Metrics
from service.pacing import Pace, keep_pace
from service.parts import Parts
from service.problems import Problem
from service.reader.readers import Readers
from service.routes import answers, cameras, counts, health, live, page
from service.settings import Camera, Settings

DRAIN_S = 3.0
FAREWELL_S = 2.0
CLOSE_S = 2.0  # each, for what might hang
DESCRIPTION = """Counts people in pictures and live video.

Errors are problem JSON (RFC 9457): act on `code`, which stays; show `detail` to people. 503 with
`Retry-After` means to come again.

The websocket `/v1/live` sends readings and, if asked, heatmaps as they come. To choose, send
`{"type": "subscribe", "cameras": ["gate-a"], "rate": 5, "heatmaps": true}`.
"""


class _Throng(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """With the model that no route names: FastAPI takes every error for application/json."""
        told = super().openapi()
        told["components"]["schemas"][Problem.__name__] = Problem.model_json_schema()
        return told


def create_app(
    settings: Settings, *, bundle: Bundle, engine: Engine, data: Path, file: Path | None = None
) -> FastAPI:
    """The app owns the engine from now on, and closes it when it ends.

    `file`: where the settings came from; edits of it are followed.
    Raises ConfigError where the history cannot be kept in `data`.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = Metrics(registry)
    history = History(data / "history.sqlite", settings.history, metrics)
    metrics.model_info.labels(bundle.name, engine.name, engine.precision).set(1)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = _parts(settings, bundle, engine, registry, metrics, history)
        app.state.parts = parts
        history.start()
        works: dict[str, Coroutine[Any, Any, None]] = {
            "the batcher": parts.batcher.run(),
            "the watch over cameras": parts.cameras.watch(),
            "the pace": keep_pace(
                parts.pace, parts.cameras, parts.batcher.tally, show=metrics.load.set
            ),
        }
        for name, camera in settings.cameras.items():
            parts.cameras.add(name, camera)
        if file:
            parts.file = SettingsFile(file, settings, parts.cameras)
            works["the settings file"] = parts.file.follow()
        running = [asyncio.create_task(work, name=name) for name, work in works.items()]
        for task in running:
            task.add_done_callback(parts.missed)
        try:
            yield
        finally:
            parts.ending.set()
            for task in running:
                task.cancel()
            await parts.cameras.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await parts.batcher.drain()
            for close in (history.close, engine.close):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await asyncio.to_thread(close)

    app = _Throng(
        title="Throng",
        version=VERSION,
        summary="Counts people.",
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=answers.problems("internal"),  # any route may have a bug
        docs_url=None,  # ours is in `service/page`: FastAPI's pages call other people's servers
        redoc_url=None,
    )
    app.add_middleware(BoundedBodies)
    problems.install(app)
    for routes in (counts, cameras, live, health, page):
        app.include_router(routes.router)
    return app


async def farewell(app: FastAPI) -> None:
    """Close the websockets with code 1001, before the server cuts them without a word."""
    parts: Parts = app.state.parts
    parts.ending.set()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            await parts.hub.alone.wait()


def _parts(
    settings: Settings,
    bundle: Bundle,
    engine: Engine,
    registry: CollectorRegistry,
    metrics: Metrics,
    history: History,
) -> Parts:
    hub = Hub(metrics)
    batcher = Batcher(engine, settings.batching, metrics)

    wiring = Wiring(bundle, batcher, hub, history)

    def line(name: str, camera: Camera) -> CameraLine:
        return CameraLine(name, camera, wiring)

    return Parts(
        settings=settings,
        bundle=bundle,
        engine=engine,
        registry=registry,
        metrics=metrics,
        history=history,
        hub=hub,
        batcher=batcher,
        cameras=Cameras(
            hub,
            batcher,
            Readers(metrics, each=settings.server.cameras_per_reader),
            line=line,
            most=settings.server.max_cameras,
            max_age_s=settings.batching.max_age_s,
        ),
        pace=Pace(patience_s=settings.batching.max_age_s / 2),
        pictures=PictureCounter(settings, bundle, batcher),
    )
