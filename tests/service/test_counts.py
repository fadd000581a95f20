"""`POST /v1/count` where there is too much to do, or nobody left to answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from service import problems
from service.batching import Batcher
from service.counting import PictureCounter
from service.metrics import Metrics
from service.routes import counts
from service.settings import Server, Settings
from tests.fakes import FakeEngine, bundle, encoded, solid

pytestmark = pytest.mark.anyio
PICTURE = encoded(solid(100, (48, 64)))


@dataclass
class Desk:
    """The route with what it needs of the service: no cameras."""

    app: FastAPI
    engine: FakeEngine
    batcher: Batcher
    registry: CollectorRegistry

    async def post(self, gone: asyncio.Event) -> list[dict[str, Any]]:
        """Everything that is sent to a client that stays until `gone`."""
        sent: list[dict[str, Any]] = []
        given = iter([{"type": "http.request", "body": PICTURE, "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in given:
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        request = {
            "type": "http", "method": "POST", "path": "/v1/count", "query_string": b"",
            "headers": [], "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        with anyio.fail_after(10):
            await self.app(request, receive, send)
        return sent

    def told(self, code: str) -> float | None:
        return self.registry.get_sample_value("throng_pictures_total", {"code": code})


@asynccontextmanager
async def desk(*, places: int = 8) -> AsyncIterator[Desk]:
    engine, registry, app = FakeEngine(), CollectorRegistry(), FastAPI()
    settings, metrics = Settings(server=Server(waiting_pictures=places)), Metrics(registry)
    batcher = Batcher(engine, settings.batching, metrics)
    app.state.parts = SimpleNamespace(
        settings=settings,
        bundle=bundle(),
        metrics=metrics,
        batcher=batcher,
        pictures=PictureCounter(settings, bundle(), batcher),
        decoding=asyncio.Lock(),
    )
    app.include_router(counts.router)
    problems.install(app)
    task = asyncio.create_task(batcher.run())
    try:
        yield Desk(app, engine, batcher, registry)
    finally:
        task.cancel()
        engine.release()
        await batcher.drain()
        engine.close()


async def until_asked(engine: FakeEngine) -> None:
    with anyio.fail_after(10):
        while not engine.at_once:  # noqa: ASYNC110  # pictures are decoded in threads
            await anyio.sleep(0.001)


async def test_a_picture_that_would_wait_too_long_is_told_when_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with desk() as one:
        assert (await one.post(asyncio.Event()))[0]["status"] == 200
        monkeypatch.setattr(Batcher, "wait_s", property(lambda _: 7.2))
        start, body = await one.post(asyncio.Event())
        assert start["status"] == 503
        assert (b"retry-after", b"8") in start["headers"]
        assert b"would wait 7 s" in body["body"]
        assert (one.told("ok"), one.told("overloaded")) == (1, 1)
        monkeypatch.setattr(Batcher, "wait_s", property(lambda _: counts.MAX_WAIT_S))
        assert (await one.post(asyncio.Event()))[0]["status"] == 200
        assert len(one.engine.shapes) == 2


async def test_a_client_that_goes_away_leaves_its_place_to_the_next() -> None:
    async with desk(places=1) as one:
        one.engine.hold()
        gone = asyncio.Event()
        posting = asyncio.create_task(one.post(gone))
        await until_asked(one.engine)
        assert (await one.post(asyncio.Event()))[0]["status"] == 503
        gone.set()
        await posting
        assert (one.told("picture_gone"), one.told("overloaded")) == (1, 1)
        one.engine.release()
        assert (await one.post(asyncio.Event()))[0]["status"] == 200
