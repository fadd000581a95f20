"""A watch for tests: it notes what a source tells it, and stops it after so many frames."""

import threading
import time
from collections.abc import Callable

from models.errors import SourceError
from service.ingest import SOURCES, Ask, Frame, Lost, Stream, kind_of


class Watching:
    """A `service.ingest.Watch`. `rate` and `slow_s`, a pause after each frame, may be changed."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.slow_s = 0.0
        self.packets = 0
        self.streams: list[Stream] = []
        self.losses: list[Lost] = []
        self._stop = threading.Event()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        return self._stop.wait(seconds)

    def packet(self) -> None:
        self.packets += 1

    def stream(self, stream: Stream) -> None:
        self.streams.append(stream)

    def lost(self, why: Lost) -> None:
        self.losses.append(why)


Each = Callable[[list[Frame], Watching], None]


def played(
    ask: Ask, *, most: int = 1000, watch: Watching | None = None, each: Each = lambda *_: None
) -> tuple[list[Frame], str]:
    """The frames of a source, at most so many, and the error that ended it.

    `each` is called with them after each frame, and may change the watch.
    """
    watch, frames = watch or Watching(ask.rate), []
    try:
        for frame in SOURCES[kind_of(ask.source)](ask, watch):
            frames.append(frame)
            each(frames, watch)
            time.sleep(watch.slow_s)
            if len(frames) == most:
                watch.stop()
    except SourceError as error:
        return frames, f"{type(error).__name__}: {error}"
    return frames, ""
