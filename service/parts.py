"""Everything a running service consists of: built in one place, handed to the routes."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends
from prometheus_client import CollectorRegistry
from starlette.requests import HTTPConnection

from deploy.bundle import Bundle
from deploy.engines import Engine
from service.batching import Batcher
from service.cameras import Cameras
from service.counting import PictureCounter
from service.following import SettingsFile
from service.history import History
from service.hub import Hub
from service.metrics import Metrics
from service.pacing import Pace
from service.settings import Settings


@dataclass
class Parts:
    settings: Settings
    bundle: Bundle
    engine: Engine
    registry: CollectorRegistry
    metrics: Metrics
    history: History
    hub: Hub
    batcher: Batcher
    cameras: Cameras
    pace: Pace
    pictures: PictureCounter
    file: SettingsFile | None = None  # none: the demo, or a test
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def draining(self) -> bool:
        return self.ending.is_set()


def parts_of(connection: HTTPConnection) -> Parts:
    return cast("Parts", connection.app.state.parts)


Service = Annotated[Parts, Depends(parts_of)]
