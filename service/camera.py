"""A camera's life: a thread that opens its source, hands on frames, comes back when it fails."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential_jitter,
)

from models.errors import SourceEnded, SourceError, SourceRefused
from service.ingest import SOURCES, Frame, Open, kind_of
from service.readings import State
from service.settings import Camera

GOOD_S = 30.0  # frames for so long, and the next pauses start short again
REFUSED_TRIES = 3
REFUSED_PAUSE_S = 300.0  # cameras lock out who keeps trying a wrong password


class Ears(Protocol):
    """Who hears of a camera. Called in the camera's thread; never blocks."""

    def frame(self, camera: str, frame: Frame) -> None: ...
    def state(self, camera: str, state: State, reason: str) -> None: ...
    def reconnect(self, camera: str) -> None: ...


class CameraThread:
    """Reads one camera until stopped. Pauses between tries grow from 1 s to 30 s, with jitter."""

    def __init__(
        self,
        name: str,
        settings: Camera,
        ears: Ears,
        *,
        source: Open | None = None,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self.name, self.settings = name, settings
        self._ears = ears
        self._source = source or SOURCES[kind_of(settings.source.get_secret_value())]
        self._stop = threading.Event()
        self._pause = pause or sleep_using_event(self._stop)
        self._backoff = wait_exponential_jitter(initial=1, max=30, jitter=1)
        self._refused = 0
        self._was_live = False
        self._thread = threading.Thread(target=self._live, name=f"camera {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; a read that hangs ends by its own time-out."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _live(self) -> None:
        """Each pass of the outer loop starts the pauses anew, after a good stretch of frames."""
        while not self._stop.is_set():
            tries = Retrying(
                wait=self._wait,
                stop=stop_when_event_set(self._stop),
                retry=retry_if_exception(_passing),
                sleep=self._pause,
                before_sleep=lambda _: self._reconnecting(),
                reraise=True,
            )
            try:
                tries(self._read)
            except SourceEnded:
                self._state("down", "the file ended")
                return
            except SourceError:
                return  # stopped while it was down
            self._reconnecting()
            self._pause(1.0)

    def _read(self) -> None:
        """One opening of the source. Returns after a good stretch or when stopped, else raises."""
        began_s = None
        try:
            for frame in self._source(self.settings, self._stop):
                if began_s is None:
                    began_s = time.monotonic()
                    self._refused, self._was_live = 0, True
                    self._state("live", "")
                if not self._stop.is_set():
                    self._ears.frame(self.name, frame)
        except SourceEnded:
            raise
        except SourceError as error:
            self._report(error)
            if began_s is None or time.monotonic() - began_s < GOOD_S:
                raise

    def _report(self, error: SourceError) -> None:
        refused = isinstance(error, SourceRefused)
        self._refused = self._refused + 1 if refused else 0
        state: State = "auth_failed" if refused else "down" if self._was_live else "connecting"
        self._state(state, str(error))

    def _state(self, state: State, reason: str) -> None:
        """Silent once stopped: the name may be another camera's by now."""
        if not self._stop.is_set():
            self._ears.state(self.name, state, reason)

    def _reconnecting(self) -> None:
        if not self._stop.is_set():
            self._ears.reconnect(self.name)

    def _wait(self, state: RetryCallState) -> float:
        return REFUSED_PAUSE_S if self._refused >= REFUSED_TRIES else self._backoff(state)


def _passing(error: BaseException) -> bool:
    return isinstance(error, SourceError) and not isinstance(error, SourceEnded)
