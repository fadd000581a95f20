"""Reading video with PyAV: explicit time-outs, sampling at a rate, scaling inside swscale.

Every message of the library carries the full address with its password, so none leaves this file:
errors are told by their class.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import Interpolation, VideoReformatter

from models.errors import SourceEnded, SourceError, SourceRefused
from models.geometry import Letterbox
from service.ingest import Frame, now
from service.settings import Camera

GIVE_UP_S = 10.0  # without one picture that can be decoded
WAITED_S = 0.004  # a packet that takes longer came from the camera, not from a buffer
BACKLOG_S = 5.0  # reading a backlog takes no longer, also where decoding never catches up
REFUSED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)

T = TypeVar("T")

BROKEN = (av.error.FFmpegError, OSError, ValueError, RuntimeError)


@dataclass(frozen=True)
class How:
    """How an address is opened."""

    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    live: bool = True
    """Live streams come at their own pace; files are played at the pace of their time stamps."""


def frames(camera: Camera, stop: threading.Event, how: How) -> Iterator[Frame]:
    """Frames of one opening of the camera's address, until it ends or `stop` is set."""
    with closing(_open(camera, how)) as container:
        try:
            yield from _sampled(container, camera, stop, how)
        except BROKEN as error:
            raise SourceError(f"reading failed: {type(error).__name__}") from error
    if not stop.is_set():
        raise SourceEnded("the stream ended") if not how.live else SourceError("the stream ended")


def _open(camera: Camera, how: How) -> InputContainer:
    av.logging.set_level(None)  # FFmpeg's own log lines carry addresses
    try:
        container = av.open(
            camera.source.get_secret_value(),
            format=how.format,
            options=how.options,
            timeout=(camera.open_timeout_s, camera.read_timeout_s),
        )
    except REFUSED as error:
        raise SourceRefused("the camera refuses this login") from error
    except BROKEN as error:
        raise SourceError(f"cannot be opened: {type(error).__name__}") from error
    if not container.streams.video:
        container.close()
        raise SourceError("there is no video in it")
    container.streams.video[0].thread_type = "NONE"  # the cores are shared by cameras and engine
    return container


def _sampled(
    container: InputContainer, camera: Camera, stop: threading.Event, how: How
) -> Iterator[Frame]:
    """Decode everything, as the codec needs, but convert only what is due."""
    reformatter = VideoReformatter()
    clock = _Pace(camera.rate, live=how.live)
    good_s = time.monotonic()
    for packet, fresh in arriving(container.demux(video=0), live=how.live):
        if stop.is_set():
            return
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            decoded = []
        if decoded:
            good_s = time.monotonic()
        elif time.monotonic() - good_s > GIVE_UP_S:
            raise SourceError(f"nothing could be decoded for {GIVE_UP_S:g} s")
        for picture in decoded:
            if fresh and clock.due(picture.time, stop):
                yield _converted(picture, camera, reformatter)


def arriving(
    packets: Iterable[T], *, live: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[T, bool]]:
    """Each packet, and whether it is as fresh as its arrival says.

    To learn a live stream's format the library reads some seconds of it; these come out at once
    when reading begins and are old. The first packet that had to be waited for ends that backlog.
    """
    began_s = asked_s = clock()
    fresh = not live
    for packet in packets:
        came_s = clock()
        fresh = fresh or came_s - asked_s > WAITED_S or came_s - began_s > BACKLOG_S
        yield packet, fresh
        asked_s = clock()


def _converted(picture: av.VideoFrame, camera: Camera, reformatter: VideoReformatter) -> Frame:
    """Scaled into the camera's box at once; a change of resolution is simply the next size."""
    captured_s, captured_at = time.monotonic(), now()
    width, height = camera.size
    box = Letterbox.fit((picture.height, picture.width), box=(height, width), multiple=1)
    small = reformatter.reformat(
        picture, width=box.scaled[1], height=box.scaled[0], format="rgb24",
        interpolation=Interpolation.AREA,
    )  # fmt: skip
    return Frame(np.asarray(small.to_ndarray(), dtype=np.uint8), captured_s, captured_at)


class _Pace:
    """Says which pictures are due at a rate; plays files at the pace of their time stamps."""

    def __init__(self, rate: float, *, live: bool) -> None:
        self._every_s, self._live = 1 / rate, live
        self._next_s = 0.0
        self._zero_s: float | None = None

    def due(self, time_s: float | None, stop: threading.Event) -> bool:
        at_s = time.monotonic()
        if not self._live and time_s is not None:
            self._zero_s = at_s - time_s if self._zero_s is None else self._zero_s
            at_s = self._zero_s + time_s
            stop.wait(max(0.0, at_s - time.monotonic()))
        if at_s < self._next_s - 1e-3:
            return False
        self._next_s = max(self._next_s + self._every_s, at_s)
        return True
