"""A reader process: `python -m service.reader DESCRIPTOR PARENT`, started by `process`.

A thread an attempt. The process has no handlers and no clean-up on purpose: it may be killed at any
time, and it dies with the service, whichever way that ends.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
import time

from models.errors import SourceEnded, SourceError, SourceRefused
from service.ingest import SOURCES, Frame, Lost, Stream, kind_of
from service.reader import wire
from service.reader.slot import Slot

PR_SET_PDEATHSIG = 1
WAIT_S = 1.0  # the longest pause without a sign of life


class Attempt:
    """One opening of one source, in a thread. It is also the source's `service.ingest.Watch`."""

    def __init__(self, begin: wire.Begin, slot: Slot, talk: "Talk") -> None:
        self._number, self._ask = begin.attempt, begin.ask
        self._slot, self._talk = slot, talk
        self._stop = threading.Event()
        self._frames = self._missed = 0
        self.rate = begin.ask.rate
        name = f"attempt {begin.attempt}"
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()

    @property
    def reads(self) -> bool:
        return self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def wait(self, seconds: float) -> bool:
        until_s = time.monotonic() + seconds
        while not self._stop.wait(min(WAIT_S, max(0.0, until_s - time.monotonic()))):
            self._slot.alive()
            if time.monotonic() >= until_s:
                return False
        return True

    def packet(self) -> None:
        self._slot.packet()

    def stream(self, stream: Stream) -> None:
        self._talk.say(wire.Known(self._number, stream))

    def lost(self, why: Lost) -> None:
        self._talk.say(wire.Gone(self._number, why, 1))

    def _read(self) -> None:
        ended = wire.Ended(self._number, "stopped", "")
        try:
            for frame in SOURCES[kind_of(self._ask.source)](self._ask, self):
                self._hand_on(frame)
            if not self.stopped:
                ended = wire.Ended(self._number, "failed", "the stream ended")
        except SourceEnded as error:
            ended = wire.Ended(self._number, "ended", str(error))
        except SourceRefused as error:
            ended = wire.Ended(self._number, "refused", str(error))
        except SourceError as error:
            ended = wire.Ended(self._number, "failed", str(error))
        except Exception as bug:  # noqa: BLE001  # its text may hold the address
            ended = wire.Ended(self._number, "failed", f"reading broke: {type(bug).__name__}")
        self._talk.say(ended)

    def _hand_on(self, frame: Frame) -> None:
        self._frames += 1
        height, width = frame.image_HW3.shape[:2]
        self._slot.write(frame.image_HW3, self._frames)
        told = self._talk.try_to_say(
            wire.Framed(
                self._number, self._frames, height, width, frame.captured_s,
                frame.captured_at.timestamp(), frame.truth, frame.damaged, self._missed,
            )
        )  # fmt: skip
        self._missed = 0 if told else self._missed + 1


class Talk:
    """The reader's end of the socket. Threads share it: a packet is sent whole or not at all."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def say(self, news: wire.News) -> None:
        """Waits while the service is busy."""
        try:
            self._connection.send(wire.packed(news))
        except OSError:
            os._exit(0)  # the service is gone

    def try_to_say(self, news: wire.News) -> bool:
        """Not while the service is busy: a newer frame will do."""
        try:
            self._connection.send(wire.packed(news), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            os._exit(0)
        return True

    def hear(self) -> tuple[wire.Wish, int] | None:
        """The next wish and the descriptor that came with it (-1: none); None at the end.

        What was cut, because it was too long, is passed over: other cameras are read here, too.
        """
        while True:
            data, descriptors, flags, _ = socket.recv_fds(self._connection, wire.LARGEST, 1)
            if not data:
                return None
            if not flags & socket.MSG_TRUNC:
                break
            for descriptor in descriptors:
                os.close(descriptor)
        wish = wire.unpacked(data)
        assert isinstance(wish, wire.Begin | wire.Rate | wire.End)
        return wish, descriptors[0] if descriptors else -1


def read_until_the_service_ends(talk: Talk) -> None:
    attempts: dict[int, Attempt] = {}
    while heard := talk.hear():
        wish, descriptor = heard
        if isinstance(wish, wire.Begin):
            attempts = {number: one for number, one in attempts.items() if one.reads}
            try:
                attempts[wish.attempt] = _begun(wish, descriptor, talk)
            except (OSError, RuntimeError) as error:  # no thread, no memory, no descriptor
                why = f"no reader can be had for it: {error}"
                talk.say(wire.Ended(wish.attempt, "failed", why))
        elif wish.attempt in attempts:  # else it has ended by itself meanwhile
            if isinstance(wish, wire.Rate):
                attempts[wish.attempt].rate = wish.rate
            else:
                attempts[wish.attempt].end()


def _begun(wish: wire.Begin, descriptor: int, talk: Talk) -> Attempt:
    """Raises OSError or RuntimeError where the system has no room for it."""
    if descriptor < 0:
        raise OSError("its memory did not come")
    width, height = wish.ask.size
    slot = Slot(descriptor, width * height)
    slot.close()
    attempt = Attempt(wish, slot, talk)
    attempt.start()
    return attempt


def main() -> None:
    descriptor, parent = map(int, sys.argv[1:])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it ended before we had asked to be told
    read_until_the_service_ends(Talk(socket.socket(fileno=descriptor)))
    os._exit(0)


if __name__ == "__main__":
    main()
