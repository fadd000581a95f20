"""Sources: where frames come from. Each file holds `source: Open` for one kind of address.

Shapes: H x W pixels, RGB.
"""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.plugins import Plugins
from service.settings import Camera


@dataclass(frozen=True)
class Frame:
    """A picture with its capture time, already scaled into the camera's box."""

    image_HW3: NDArray[np.uint8]
    captured_s: float  # monotonic clock: ages and order
    captured_at: datetime  # UTC: for people
    truth: float | None = None  # people in it, where a source knows (the demo scene)


Open = Callable[[Camera, threading.Event], Iterator[Frame]]
"""Opens a source and yields frames at the camera's rate until the event is set.

Blocks while it waits, in a thread of its own. Raises SourceError (SourceRefused for a wrong login,
SourceEnded after the last frame of a file); no message holds an address or a password.
"""

SOURCES: Plugins[Open] = Plugins("service.ingest", "source")

_KINDS = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}


def kind_of(address: str) -> str:
    """The plug-in that reads an address: by its scheme; `demo` and `demo:SEED`; else a file."""
    if address == "demo" or address.startswith("demo:"):
        return "demo"
    scheme, mark, _ = address.partition("://")
    return _KINDS.get(scheme.lower(), "file") if mark else "file"


def redacted(address: str) -> str:
    """An address fit to be shown: nothing before its last @, nothing after ?, #, ;, & or =.

    Not by a URL parser: passwords with unescaped slashes must not look like paths, and some cameras
    take their password inside the path.
    """
    found = re.match(r"[a-z][a-z0-9+.-]*://", address, re.IGNORECASE)
    scheme = found[0] if found else ""
    _, at, place = address[len(scheme) :].rpartition("@")
    return f"{scheme}{'***' if at else ''}{at}{re.split('[?#;&=]', place)[0]}"


def now() -> datetime:
    return datetime.now(UTC)
