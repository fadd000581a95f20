"""Everything a running service consists of: built in one place, handed to the routes."""

import asyncio
import logging
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
from service.settings import Defaults, Settings

LOG = logging.getLogger(__name__)


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
    decoding: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Posted pictures are decoded one by one: forty megapixels of WebP take 650 MB meanwhile."""
    file: SettingsFile | None = None  # none: the demo, or a test
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    broken: list[str] = field(default_factory=list)
    """Why the service can only be started again."""

    @property
    def defaults(self) -> Defaults:
        """Of cameras that come now: those of the file as it was last applied."""
        return (self.file.settings if self.file else self.settings).defaults

    @property
    def draining(self) -> bool:
        return self.ending.is_set()

    def missed(self, task: asyncio.Task[None]) -> None:
        """A task ended that ends only when it is cancelled."""
        if not task.cancelled():
            error = task.exception()
            LOG.error("%s ended", task.get_name(), exc_info=error)
            self.broken.append(f"{task.get_name()} ended ({type(error).__name__}): restart")


def parts_of(connection: HTTPConnection) -> Parts:
    return cast("Parts", connection.app.state.parts)


Service = Annotated[Parts, Depends(parts_of)]
