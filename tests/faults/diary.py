"""Everything a websocket client is told, with the time it came."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any, NamedTuple

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.running import wait_until

Message = dict[str, Any]


class Entry(NamedTuple):
    at_s: float  # monotonic
    message: Message


class Diary:
    """Filled by `listening`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def said(self, camera: str, kind: str, *, since_s: float = 0.0) -> list[Entry]:
        """Messages of one kind about a camera, oldest first."""
        return [
            entry
            for entry in list(self.entries)
            if entry.at_s >= since_s
            and entry.message["type"] == kind
            and entry.message.get("camera") == camera
        ]

    def fresh(self, camera: str, *, since_s: float = 0.0) -> list[Entry]:
        """Its readings that count: captured while it was live, and not old."""
        return [
            entry
            for entry in self.said(camera, "reading", since_s=since_s)
            if entry.message["state"] == "live" and not entry.message["stale"]
        ]

    def first(self, find: Callable[[], list[Entry]], *, seconds: float, what: str) -> Entry:
        """The first of what `find` finds, awaited."""
        wait_until(lambda: bool(find()), seconds=seconds, what=what)
        return find()[0]

    def rate(self, camera: str, *, start_s: float, end_s: float) -> float:
        """Readings a second of a span, from the last before it to the first after it.

        Where none comes after the span within two seconds, the span ends then.
        """
        wait_until(
            lambda: (
                bool(self.said(camera, "reading", since_s=end_s)) or time.monotonic() > end_s + 2
            ),
            seconds=max(0.0, end_s - time.monotonic()) + 3,
            what="the end of the span",
        )
        times = [entry.at_s for entry in self.said(camera, "reading")]
        inside = [at_s for at_s in times if start_s < at_s < end_s]
        began_s = max((at_s for at_s in times if at_s <= start_s), default=start_s)
        ended_s = min((at_s for at_s in times if at_s >= end_s), default=end_s + 2)
        return (len(inside) + 1) / (ended_s - began_s)

    def longest_gap_s(self, camera: str, *, start_s: float, end_s: float) -> float:
        """Between fresh readings, the edges of the span included."""
        times = [one.at_s for one in self.fresh(camera) if start_s < one.at_s < end_s]
        edges = [start_s, *times, end_s]
        return max(after - before for before, after in pairwise(edges))


@contextmanager
def listening(url: str) -> Iterator[Diary]:
    """Listens in a thread of its own, at most until the service ends."""
    diary = Diary()

    def listen() -> None:
        with suppress(ConnectionClosed):
            for text in live:
                if isinstance(text, str):
                    diary.entries.append(Entry(time.monotonic(), json.loads(text)))

    address = f"ws{url.removeprefix('http')}/v1/live"
    with connect(address, open_timeout=5, close_timeout=1, max_queue=None) as live:
        thread = threading.Thread(target=listen, name="diary", daemon=True)
        thread.start()
        yield diary
    thread.join(5)
