"""A camera's life: opened in a reader process, watched, opened again when it fails."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from models.errors import SourceEnded, SourceError
from service.ingest import Ask, Frame, Stream
from service.reader.process import Attempt
from service.reader.readers import Readers
from service.reader.wire import Ended
from service.readings import State

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
    """Reads one camera until cancelled. Pauses between tries grow from 1 s to 30 s, with jitter."""

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
        self._backoff = wait_exponential_jitter(initial=1, max=30, jitter=1)
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
        """Each pass of the loop starts the pauses anew, after a good stretch of frames."""
        while True:
            tries = AsyncRetrying(
                wait=self._wait,
                retry=retry_if_exception(_passing),
                sleep=self._pause,
                before_sleep=lambda _: self._ears.reconnect(self.name),
                reraise=True,
            )
            try:
                await tries(self._read)
            except SourceEnded:
                self._ears.state(self.name, "down", "the file ended")
                return
            self._ears.reconnect(self.name)
            await self._pause(1.0)

    async def _read(self) -> None:
        """One opening of the source. Returns after a good stretch, else raises SourceError."""
        self._live_since_s = None
        ended = await self._attempted()
        if ended.why == "ended":
            raise SourceEnded(ended.reason)
        self._report(ended)
        since_s = self._live_since_s
        if since_s is None or time.monotonic() - since_s < GOOD_S:
            raise SourceError(ended.reason)

    async def _attempted(self) -> Ended:
        try:
            async with self._readers.openings:
                suspect = len(self._crashes_s) >= SUSPECT_CRASHES
                self.attempt = self._readers.begin(self._ask, self, alone=suspect)
                if self.rate != self._ask.rate:
                    self.attempt.set_rate(self.rate)
                await self.attempt.opened.wait()
            return await self.attempt.ended
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

    def _report(self, ended: Ended) -> None:
        refused = ended.why == "refused"
        self._refused = self._refused + 1 if refused else 0
        if ended.why == "crashed":
            self._crashes_s.append(time.monotonic())
        state: State = "auth_failed" if refused else "down" if self._was_live else "connecting"
        if self._in_quarantine():
            state = "quarantined"
        self._ears.state(self.name, state, ended.reason)

    def _in_quarantine(self) -> bool:
        self._forget_old_crashes()
        return len(self._crashes_s) == MOST_CRASHES

    def _forget_old_crashes(self) -> None:
        while self._crashes_s and self._crashes_s[0] < time.monotonic() - CRASHES_S:
            self._crashes_s.popleft()

    def _wait(self, state: RetryCallState) -> float:
        if self._in_quarantine():
            return QUARANTINE_S
        return REFUSED_PAUSE_S if self._refused >= REFUSED_TRIES else self._backoff(state)


def _passing(error: BaseException) -> bool:
    return isinstance(error, SourceError) and not isinstance(error, SourceEnded)
