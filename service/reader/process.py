"""The service's end of one reader process. Belongs to the event loop."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from service.ingest import Ask, Frame, Lost, Stream
from service.ingest._address import LOOKUP_S
from service.reader import wire
from service.reader.slot import Slot

ROOT = Path(__file__).parents[2]
HUNG_S = 10.0  # without a sign of life a thread hangs in C code
CLOSE_S = 0.5  # for a killed process to go: one in the middle of a disk's work may never
LIGHT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class Ears(Protocol):
    """Who hears what an attempt gives. Called in the event loop; never blocks."""

    def frame(self, frame: Frame) -> None: ...
    def stream(self, stream: Stream) -> None: ...
    def lost(self, why: Lost | str, frames: int) -> None: ...


class Attempt:
    """One opening of one source. `ended` is its only end, whatever happens."""

    def __init__(self, number: int, ask: Ask, ears: Ears, process: "Process") -> None:
        self.number, self.ask = number, ask
        self.slot = Slot.create(ask.size[0] * ask.size[1])
        self.ended: asyncio.Future[wire.Ended] = asyncio.get_running_loop().create_future()
        self.opened = asyncio.Event()  # also set when it ended
        self._begun_s = self.slot.packet_s
        self._ears, self._process = ears, process

    @property
    def reader(self) -> int:
        """The process that reads."""
        return self._process.pid

    @property
    def silent_s(self) -> float:
        """Since anything came from the camera."""
        return time.monotonic() - self.slot.packet_s

    @property
    def hangs(self) -> bool:
        """Its thread shows no sign of life for longer than the library's own time-outs allow.

        Opening, it looks the name up once more, then connects, then learns what the stream is.
        """
        if self.slot.packet_s == self._begun_s:
            allowed_s = LOOKUP_S + 2 * self.ask.open_timeout_s
        else:
            allowed_s = 3 * self.ask.read_timeout_s
        silent_s = time.monotonic() - max(self.slot.packet_s, self.slot.alive_s)
        return silent_s > max(HUNG_S, allowed_s)

    def set_rate(self, rate: float) -> None:
        self._process.say(wire.Rate(self.number, rate))

    def stop(self) -> None:
        """Nothing of it is heard any more; its thread ends when its read does."""
        if not self.ended.done():
            self._process.say(wire.End(self.number))
            self.end(wire.Ended(self.number, "stopped", ""))

    def end(self, ended: wire.Ended) -> None:
        if not self.ended.done():
            self.ended.set_result(ended)
            self.opened.set()

    def hear(self, news: wire.News) -> None:
        if self.ended.done():
            return
        if isinstance(news, wire.Framed):
            self._frame(news)
        elif isinstance(news, wire.Known):
            self.opened.set()
            self._ears.stream(news.stream)
        elif isinstance(news, wire.Gone):
            self._ears.lost(news.why, news.frames)
        else:
            self.end(news)

    def _frame(self, news: wire.Framed) -> None:
        self.opened.set()
        image_HW3 = self.slot.read(news.number, (news.height, news.width))
        missed = news.missed + (image_HW3 is None)
        if missed:
            self._ears.lost("busy", missed)
        if image_HW3 is not None:
            at = datetime.fromtimestamp(news.captured_unix, UTC)
            self._ears.frame(Frame(image_HW3, news.captured_s, at, news.truth, news.damaged))


class Process:
    """A reader process and its attempts. `on_death(self)` is called once, when it is gone.

    Raises OSError where the system has no process or descriptor left.
    """

    def __init__(self, on_death: Callable[["Process"], None], *, alone: bool = False) -> None:
        self.alone = alone  # reads one camera only
        self.killed = False
        self.attempts: dict[int, Attempt] = {}
        self.idle_since_s = time.monotonic()
        self._on_death = on_death
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with contextlib.ExitStack() as on_failure, theirs:
            on_failure.callback(ours.close)
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "service.reader"),
                    *(str(theirs.fileno()), str(os.getpid())),
                ],
                env={**os.environ, **LIGHT, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the service
            )
            on_failure.pop_all()
        ours.setblocking(False)
        self._connection = ours
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(ours, self._hear)

    @property
    def pid(self) -> int:
        return self._child.pid

    def begin(self, number: int, ask: Ask, ears: Ears) -> Attempt:
        """Raises OSError where the system has no room for it, SourceError for a long address."""
        begin = wire.packed(wire.Begin(number, ask))
        attempt = Attempt(number, ask, ears, self)
        self.attempts[number] = attempt
        try:
            self._send(begin, [attempt.slot.fd])
        except OSError:
            self._forget(attempt)
            raise
        finally:
            attempt.slot.close()
        return attempt

    def say(self, wish: wire.Wish) -> None:
        try:
            self._send(wire.packed(wish), [])
        except OSError:
            self.kill()

    def kill(self, hung: Attempt | None = None) -> None:
        """End its attempts now, and itself as soon as the system can. `hung`: whose fault it is."""
        if self.killed:
            return
        self.killed = True
        self._child.kill()
        for attempt in list(self.attempts.values()):
            if hung is None:
                self._lose(attempt, "crashed", "its reader process hung")
            elif hung is attempt:
                self._lose(attempt, "crashed", "reading it hung")
            else:
                self._lose(attempt, "failed", "reading another camera hung")

    def close(self) -> None:
        """End it without a word to anybody."""
        self._loop.remove_reader(self._connection)
        self._connection.close()
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(CLOSE_S)

    def _send(self, data: bytes, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._connection, [data], descriptors)
        except BlockingIOError:  # it hangs so long that the line is full
            self.kill()
        except ConnectionError:
            pass  # it died: the end of the line, which is heard next, says how

    def _hear(self) -> None:
        """One message at a time: what else the event loop has to do comes between frames."""
        try:
            data = self._connection.recv(wire.LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self._died()

    def _take(self, data: bytes) -> None:
        news = wire.unpacked(data)
        assert not isinstance(news, wire.Begin | wire.Rate | wire.End)
        attempt = self.attempts.get(news.attempt)
        if attempt is None:
            return  # said before it was killed
        attempt.hear(news)
        if isinstance(news, wire.Ended):
            self._forget(attempt)

    def _forget(self, attempt: Attempt) -> None:
        del self.attempts[attempt.number]
        self.idle_since_s = time.monotonic()

    def _died(self) -> None:
        self._loop.remove_reader(self._connection)
        self._connection.close()
        self._child.kill()
        died = _told(self._child.wait())
        for attempt in list(self.attempts.values()):
            self._lose(attempt, "crashed", died)
        self._on_death(self)

    def _lose(self, attempt: Attempt, why: wire.Why, reason: str) -> None:
        attempt.end(wire.Ended(attempt.number, why, reason))
        self._forget(attempt)


def _told(code: int) -> str:
    if code >= 0:
        return f"its reader process ended with {code}"
    return f"its reader process was ended by {signal.Signals(-code).name}"
