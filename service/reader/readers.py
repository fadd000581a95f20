"""All reader processes: which camera goes where, who is killed, who may open now."""

import logging
import time
from itertools import count

from models.errors import SourceError
from service.ingest import Ask
from service.metrics import Metrics
from service.reader.openings import Openings
from service.reader.process import Attempt, Ears, Process

LOG = logging.getLogger(__name__)

IDLE_S = 30.0  # a process without cameras is kept so long


class Readers:
    """Belongs to the event loop, which must be running."""

    def __init__(self, metrics: Metrics, *, each: int) -> None:
        self._metrics, self._each = metrics, each
        self._processes: list[Process] = []
        self._numbers = count(1)
        self.openings = Openings()

    def begin(self, ask: Ask, ears: Ears, *, alone: bool = False) -> Attempt:
        """Open a source; `alone`: in a process of its own, because it may have crashed others.

        Raises SourceError where the system has no process, memory or descriptor left for it.
        """
        try:
            process = None if alone else self._with_room()
            if process is None:
                process = Process(self._crashed, alone=alone)
                self._processes.append(process)
                self._metrics.readers.set(len(self._processes))
            return process.begin(next(self._numbers), ask, ears)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise SourceError(f"no reader can be had for it: {why}") from error

    def look_after(self) -> None:
        """Kill processes that hang, end those that nobody needs."""
        now_s = time.monotonic()
        for process in [one for one in self._processes if not one.killed]:
            hung = next((one for one in process.attempts.values() if one.hangs), None)
            if hung:
                LOG.warning("reader process %d hangs and is replaced", process.pid)
                process.kill(hung)
            elif _unneeded(process, now_s):
                self._forget(process)
                process.close()

    def close(self) -> None:
        for process in self._processes:
            process.close()
        self._processes.clear()

    def _with_room(self) -> Process | None:
        open_to_all = (one for one in self._processes if not one.alone and not one.killed)
        return next((one for one in open_to_all if len(one.attempts) < self._each), None)

    def _crashed(self, process: Process) -> None:
        self._metrics.reader_crashes.inc()
        LOG.warning("reader process %d is gone", process.pid)
        self._forget(process)

    def _forget(self, process: Process) -> None:
        self._processes.remove(process)
        self._metrics.readers.set(len(self._processes))


def _unneeded(process: Process, now_s: float) -> bool:
    if process.alone:  # it is given no second source
        return all(attempt.ended.done() for attempt in process.attempts.values())
    return not process.attempts and now_s - process.idle_since_s > IDLE_S
