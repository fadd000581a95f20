"""Readings on disk: SQLite in WAL mode, one writer, in batches, kept for a day.

Counting never waits for the disk: readings go into a bounded queue, and what does not fit, or
cannot be written, is lost and counted.
"""

import fcntl
import json
import logging
import math
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.errors import ConfigError
from service.means import Means, means
from service.metrics import Metrics
from service.readings import Reading, counts, timestamp
from service.settings import History as Keep

LOG = logging.getLogger(__name__)

WAITING = 20_000
BATCH_S = 0.5
SWEEP_S = 600.0
CLOSE_S = 5.0
ASKERS = 2  # threads of their own: a disk that hangs must not hold those that others wait for

_SCHEMA = """
CREATE TABLE IF NOT EXISTS readings (
    camera TEXT NOT NULL,
    captured_at REAL NOT NULL,  -- unix seconds
    count REAL NOT NULL,
    low REAL NOT NULL,
    high REAL NOT NULL,
    zones TEXT NOT NULL,        -- JSON: zone to people
    PRIMARY KEY (camera, captured_at)
) WITHOUT ROWID
"""
_BY_TIME = "CREATE INDEX IF NOT EXISTS readings_by_time ON readings (captured_at)"  # for the sweep
_SWEEP = "DELETE FROM readings WHERE captured_at < ?"


class History:
    """One thread writes; anyone may read."""

    def __init__(self, path: Path, keep: Keep, metrics: Metrics) -> None:
        self._path, self._keep_s, self._metrics = path, keep.keep_hours * 3600, metrics
        self._queue: queue.Queue[Reading | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._write, name="history", daemon=True)
        self.askers = ThreadPoolExecutor(ASKERS, thread_name_prefix="history-asked")
        self.degraded = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path)
            with self._connection() as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(_SCHEMA)
                connection.execute(_BY_TIME)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"history cannot be kept at {path}: {error}; choose --data"
            ) from error

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write what is waiting and stop; a disk that hangs is not waited for."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_S)
        self._thread.join(CLOSE_S)
        self.askers.shutdown(wait=False, cancel_futures=True)
        os.close(self._lock)

    def add(self, reading: Reading) -> None:
        """Never blocks."""
        try:
            self._queue.put_nowait(reading)
        except queue.Full:
            self._metrics.history_dropped.inc()

    def between(
        self, camera: str, *, start: datetime, end: datetime, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """The newest `limit` readings of a span, oldest first; and whether there were more. None is
        older than `keep_hours`, swept or not.
        """
        oldest = max(start.timestamp(), time.time() - self._keep_s)
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT captured_at, count, low, high, zones FROM readings"
                " WHERE camera = ? AND captured_at BETWEEN ? AND ?"
                " ORDER BY captured_at DESC LIMIT ?",
                (camera, oldest, end.timestamp(), limit + 1),
            ).fetchall()
        readings = [
            {
                "captured_at": timestamp(datetime.fromtimestamp(at, UTC)),
                **counts(people, (low, high), json.loads(zones)),
            }
            for at, people, low, high, zones in reversed(rows[:limit])
        ]
        return readings, len(rows) > limit

    def means(
        self, camera: str, *, start: datetime, end: datetime, every_s: int, limit: int
    ) -> list[Means]:
        """The newest `limit` stretches of a span that have readings, oldest first."""
        oldest = max(start.timestamp(), time.time() - self._keep_s)
        span = (oldest, end.timestamp())
        with self._connection() as connection:
            return means(connection, camera, span_s=span, every_s=every_s, limit=limit)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=5)) as connection, connection:
            yield connection

    def _write(self) -> None:
        swept_s = -math.inf
        open_ = True
        while open_:
            batch, open_ = self._collect()
            try:
                with self._connection() as connection:
                    self._insert(connection, batch)
                    due = time.monotonic() - swept_s > SWEEP_S
                    if due:
                        connection.execute(_SWEEP, (time.time() - self._keep_s,))
                swept_s = time.monotonic() if due else swept_s
                self._metrics.history_written.inc(len(batch))
                self._tell("")
            except sqlite3.Error as error:
                self._metrics.history_dropped.inc(len(batch))
                self._tell(f"history is not written: {error}")

    def _tell(self, degraded: str) -> None:
        if degraded != self.degraded:
            LOG.log(
                logging.WARNING if degraded else logging.INFO,
                "%s",
                degraded or "history is written again",
            )
        self.degraded = degraded

    def _collect(self) -> tuple[list[Reading], bool]:
        """What arrives within half a second of the first, and nothing after long without any; False
        once the history closes.
        """
        batch: list[Reading] = []
        try:
            first = self._queue.get(timeout=SWEEP_S)
        except queue.Empty:
            return batch, True
        deadline_s = time.monotonic() + BATCH_S
        while first is not None:
            batch.append(first)
            try:
                first = self._queue.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                return batch, True
        return batch, False

    @staticmethod
    def _insert(connection: sqlite3.Connection, batch: list[Reading]) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executemany(
            "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?, ?)",
            [
                (r.camera, r.captured_at.timestamp(), r.count, *r.interval, json.dumps(r.zones))
                for r in batch
            ],
        )


def _locked(path: Path) -> int:
    """Two services would mix their readings. The lock ends with the process, whichever way.

    Raises BlockingIOError where another one has it.
    """
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise BlockingIOError(None, "another service keeps its history there") from None
    return lock
