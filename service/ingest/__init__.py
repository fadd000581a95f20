"""Sources: where frames come from. Each file holds `source: Open` for one kind of address.

Sources run in reader processes (`service.reader`), a thread each, and stay light: nothing here
imports settings, the API or an engine. Shapes: H x W pixels, RGB.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.plugins import Plugins

Decode = Literal["auto", "all", "keyframes"]
Decoding = Literal["all", "keyframes"]  # all that due pictures depend on, or key frames alone
Lost = Literal["late", "corrupt"]


@dataclass(frozen=True)
class Ask:
    """What is asked of a source: plain values, because they travel to another process."""

    source: str = field(repr=False)  # the address, password and all: never shown or in a message
    size: tuple[int, int] = (768, 432)  # width and height of the box that frames are scaled into
    rate: float = 2.0  # frames a second
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: float = 5.0
    read_timeout_s: float = 2.5
    max_age_s: float = 2.0  # a frame that is older when it is decoded is given up as late
    loop: bool = False
    decode: Decode = "auto"


@dataclass(frozen=True)
class Frame:
    """A picture with its capture time, already scaled into the camera's box."""

    image_HW3: NDArray[np.uint8]
    captured_s: float  # monotonic clock: ages and order
    captured_at: datetime  # UTC: for people
    truth: float | None = None  # people in it, where a source knows (the demo scene)
    damaged: bool = False  # it, or one that it was predicted from, did not come whole


@dataclass(frozen=True)
class Stream:
    """What is known of a stream. None: not known yet, or not said by it."""

    codec: str
    width: int
    height: int
    fps: float | None  # pictures a second, measured
    keyframe_s: float | None  # seconds from one key frame to the next, measured
    decoding: Decoding  # what is done at present


class Watch(Protocol):
    """Who watches a source read: it is told what happens, and says what is wanted by now."""

    @property
    def stopped(self) -> bool:
        """The source shall end; asked between packets."""

    @property
    def rate(self) -> float:
        """Frames a second that are wanted now: at most what was asked, less when work is short."""

    def wait(self, seconds: float) -> bool:
        """Sleep on purpose, as file and demo do; true when stopped. Counts as a sign of life."""

    def packet(self) -> None:
        """Something came from the camera. This, not a frame, is the sign that it lives."""

    def stream(self, stream: Stream) -> None:
        """The stream is known, or is known better or otherwise than before."""

    def lost(self, why: Lost) -> None:
        """A frame that was due is given up: older than `max_age_s`, or not decodable."""


Open = Callable[[Ask, Watch], Iterator[Frame]]
"""Opens a source once and yields frames at the watch's rate until it is stopped.

Blocks while it waits. Raises SourceError (SourceRefused for a wrong login, SourceEnded after the
last frame of a file); no message holds an address or a password.
"""

SOURCES: Plugins[Open] = Plugins("service.ingest", "source")

SCHEMES = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}
"""The plug-in that reads an address of each scheme."""


def kind_of(address: str) -> str:
    """The plug-in that reads an address: by its scheme; `demo` and `demo:SEED`; else a file."""
    if address == "demo" or address.startswith("demo:"):
        return "demo"
    scheme, mark, _ = address.partition("://")
    return SCHEMES.get(scheme.lower(), "file") if mark else "file"


def redacted(address: str) -> str:
    """An address fit to be shown: nothing before its last @, and of a camera's nothing behind the
    host: some take their password, or a key that is as good as one, inside the path.

    Not by a URL parser: passwords with unescaped slashes must not look like paths.
    """
    found = re.match(r"[a-z][a-z0-9+.-]*://", address, re.IGNORECASE)
    scheme = found[0] if found else ""
    _, at, place = address[len(scheme) :].rpartition("@")
    shown = re.split("[/?#;&=]" if scheme else "[?#;&=]", place)[0]
    path = "/***" if scheme and shown != place else ""
    return f"{scheme}{'***' if at else ''}{at}{shown}{path}"


def now() -> datetime:
    return datetime.now(UTC)
