"""A camera's life: opened in a reader process, watched, opened again when it fails."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from models.errors import SourceError
from service.ingest import Ask, Frame, Stream
from service.reader.process import Attempt
from service.reader.readers import Readers
from service.reader.wire import Ended
from service.readings import State

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
GOOD_S = 30.0  # frames for so long, and the next pauses start short again
REFUSED_TRIES = 3
REFUSED_PAUSE_S = 300.0  # cameras lock out who keeps trying a wrong password
SUSPECT_CRASHES = 2  # then it is read in a process of its own: only the culprit crashes again
MOST_CRASHES = 5
CRASHES_S = 300.0
QUARANTINE_S = 1800.0


class Ears(Protocol):
    """Who hears of a camera. Called in the event loop; never blocks."""

    def frame(self, camera: str, frame: Frame) -> None: ...
    def stream(self, camera: str, stream: Stream) -> None: ...
    def lost(self, camera: str, why: str, frames: int) -> None: ...
    def state(self, camera: str, state: State, reason: str) -> None: ...
    def reconnect(self, camera: str) -> None: ...


class CameraLife:
    """Reads one camera until cancelled.

    Pauses between tries are drawn from 1 s up to a bound that doubles, from 2 s to 30 s: cameras
    that failed together do not come back together.
    """

    def __init__(
        self,
        name: str,
        ask: Ask,
        ears: Ears,
        readers: Readers,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name, self._ask, self._ears, self._readers = name, ask, ears, readers
        self._pause = pause
        self.rate = ask.rate
        self._bound_s = SHORTEST_PAUSE_S  # of the last pause
        self._refused = 0
        self._crashes_s: deque[float] = deque(maxlen=MOST_CRASHES)
        self._live_since_s: float | None = None
        self._was_live = False
        self.attempt: Attempt | None = None

    def set_rate(self, rate: float) -> None:
        """Frames a second from now on: at most what was asked."""
        self.rate = rate
        if self.attempt:
            self.attempt.set_rate(rate)

    @property
    def silent_s(self) -> float:
        """Since anything came from the camera; 0 while nothing is awaited."""
        return self.attempt.silent_s if self.attempt else 0.0

    def end(self) -> None:
        """Nothing is heard of it from now on, also before its task is cancelled."""
        if self.attempt:
            self.attempt.stop()

    async def live(self) -> None:
        """Opens the source again and again. Returns at the end of a file."""
        while True:
            ended = await self._attempted()
            if ended.why == "ended":
                self._ears.state(self.name, "down", "the file ended")
                return
            state, pause_s = self._judged(ended)
            self._ears.state(self.name, state, ended.reason)
            self._ears.reconnect(self.name)
            await self._pause(pause_s)

    async def _attempted(self) -> Ended:
        """One opening of the source, to its end."""
        self._live_since_s = None
        try:
            async with self._readers.openings.place(self._bound_s):
                suspect = self._recent_crashes() >= SUSPECT_CRASHES
                self.attempt = self._readers.begin(self._ask, self, alone=suspect)
                if self.rate != self._ask.rate:
                    self.attempt.set_rate(self.rate)
                await self.attempt.opened.wait()
            return await self.attempt.ended
        except SourceError as error:
            return Ended(0, "failed", str(error))
        finally:
            if self.attempt:
                self.attempt.stop()
            self.attempt = None

    def frame(self, frame: Frame) -> None:
        if self._live_since_s is None:
            self._live_since_s = time.monotonic()
            self._refused, self._was_live = 0, True
            self._ears.state(self.name, "live", "")
        self._ears.frame(self.name, frame)

    def stream(self, stream: Stream) -> None:
        self._ears.stream(self.name, stream)

    def lost(self, why: str, frames: int) -> None:
        self._ears.lost(self.name, why, frames)

    def _judged(self, ended: Ended) -> tuple[State, float]:
        """What an end makes of the camera, and the pause until it is opened again."""
        now_s, since_s = time.monotonic(), self._live_since_s
        good = since_s is not None and now_s - since_s >= GOOD_S
        self._bound_s = min(2 * (SHORTEST_PAUSE_S if good else self._bound_s), LONGEST_PAUSE_S)
        pause_s = random.uniform(SHORTEST_PAUSE_S, self._bound_s)
        self._refused = self._refused + 1 if ended.why == "refused" else 0
        if ended.why == "crashed":
            self._crashes_s.append(now_s)
        if self._recent_crashes() == MOST_CRASHES:
            return "quarantined", QUARANTINE_S
        if self._refused:
            return "auth_failed", REFUSED_PAUSE_S if self._refused >= REFUSED_TRIES else pause_s
        return "down" if self._was_live else "connecting", pause_s

    def _recent_crashes(self) -> int:
        while self._crashes_s and self._crashes_s[0] < time.monotonic() - CRASHES_S:
            self._crashes_s.popleft()
        return len(self._crashes_s)
