"""Readings on disk; a disk that fails costs readings, never counting."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from models.errors import ConfigError
from service import history as module
from service.history import History
from service.metrics import Metrics
from service.readings import Reading
from service.settings import History as Keep
from tests.running import wait_until

NOW = datetime.now(UTC).replace(microsecond=250_000)


def reading(seconds_ago: float, camera: str = "gate", count: float = 5.0) -> Reading:
    at = NOW - timedelta(seconds=seconds_ago)
    return Reading(camera, 1, at, 0.0, count, (4.0, 7.0), {"left": 2.5}, 2.0)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "history.sqlite"


@pytest.fixture
def history(database: Path, registry: CollectorRegistry) -> Iterator[History]:
    history = History(database, Keep(keep_hours=1), Metrics(registry))
    yield history
    if history_runs():
        history.close()


def history_runs() -> bool:
    return any(thread.name == "history" for thread in threading.enumerate())


def written(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("throng_history_written_total") or 0


def lost(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("throng_history_dropped_total") or 0


def hour(history: History, *, camera: str = "gate", limit: int = 100) -> tuple[list[float], bool]:
    """The counts of the last two hours."""
    start = NOW - timedelta(hours=2)
    rows, more = history.between(camera, start=start, end=NOW, limit=limit)
    return [row["count"] for row in rows], more


def test_a_reading_is_told_later_as_it_was_at_once(history: History) -> None:
    history.start()
    odd = replace(reading(2, count=50.754018), interval=(41.3333, 62.6666), zones={"left": 0.3333})
    history.add(odd)
    history.close()
    (row,), _ = history.between("gate", start=NOW - timedelta(minutes=1), end=NOW, limit=10)
    message = odd.message()
    assert row == {key: message[key] for key in ("captured_at", "count", "interval", "zones")}


def test_what_goes_in_comes_out_oldest_first_and_for_its_camera_only(history: History) -> None:
    history.start()
    for one in (reading(2, count=2), reading(3, count=1), reading(1, camera="hall", count=9)):
        history.add(one)
    history.close()
    rows, more = history.between("gate", start=NOW - timedelta(minutes=1), end=NOW, limit=10)
    assert not more
    assert [row["count"] for row in rows] == [1, 2]
    assert rows[1]["interval"] == [4.0, 7.0]
    assert rows[1]["zones"] == {"left": 2.5}
    assert rows[1]["captured_at"].endswith(".250Z")
    assert hour(history, camera="nobody") == ([], False)


def test_a_limit_keeps_the_newest_and_says_that_there_were_more(history: History) -> None:
    history.start()
    for index in range(10):
        history.add(reading(10 - index, count=index))
    history.close()
    assert hour(history, limit=3) == ([7, 8, 9], True)
    assert hour(history, limit=10) == (list(range(10)), False)


def test_what_is_older_than_the_keeping_is_swept(history: History) -> None:
    history.start()
    history.add(reading(3700, count=1))
    history.add(reading(60, count=2))
    history.close()
    assert hour(history) == ([2], False)


def test_a_sweep_that_fails_is_made_with_the_next_readings(
    history: History, registry: CollectorRegistry, database: Path
) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER stuck BEFORE DELETE ON readings BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        old = ("gate", NOW.timestamp() - 3700, 1, 1, 1, "{}")
        connection.execute("INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?)", old)
    history.start()
    history.add(reading(3))
    wait_until(lambda: lost(registry) == 1, seconds=10, what="the sweep to fail")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DROP TRIGGER stuck")
    history.add(reading(2, count=2))
    history.close()
    assert hour(history) == ([2], False)


def test_a_sweep_reads_only_what_it_deletes_also_in_a_history_of_before(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(module._SCHEMA)
    History(file, Keep(), Metrics(CollectorRegistry()))
    with closing(sqlite3.connect(file)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {module._SWEEP}", (0,)).fetchall()
    [(*_, step)] = plan
    assert step.startswith("SEARCH")
    assert step.endswith("INDEX readings_by_time (captured_at<?)")


def test_a_history_outlives_its_service(
    history: History, tmp_path: Path, registry: CollectorRegistry
) -> None:
    history.start()
    history.add(reading(5, count=3))
    history.close()
    again = History(tmp_path / "deep" / "history.sqlite", Keep(), Metrics(CollectorRegistry()))
    assert hour(again) == ([3], False)
    assert written(registry) == 1


def test_a_disk_that_fails_is_told_and_costs_readings_and_comes_back(
    history: History, tmp_path: Path, registry: CollectorRegistry
) -> None:
    file, aside = tmp_path / "deep" / "history.sqlite", tmp_path / "aside.sqlite"
    file.rename(aside)
    file.mkdir()
    history.start()
    history.add(reading(3))
    wait_until(lambda: lost(registry) == 1, seconds=10, what="the loss to be counted")
    assert history.degraded.startswith("history is not written: ")
    file.rmdir()
    aside.rename(file)
    history.add(reading(2, count=8))
    history.close()
    assert history.degraded == ""
    assert hour(history) == ([8], False)


class Cramped(History):
    """On a disk of so many pages: SQLite itself finds it full."""

    pages = 1_000_000

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with super()._connection() as connection:
            connection.execute(f"PRAGMA max_page_count = {self.pages}")
            yield connection


def test_a_full_disk_costs_readings_that_are_counted_until_there_is_space_again(
    tmp_path: Path, registry: CollectorRegistry
) -> None:
    history = Cramped(tmp_path / "history.sqlite", Keep(keep_hours=1), Metrics(registry))
    history.pages = 8
    history.start()
    for index in range(500):
        history.add(reading(1 + index / 1000))
    wait_until(lambda: lost(registry) > 0, seconds=5, what="the disk to be full")
    assert history.degraded == "history is not written: database or disk is full"
    history.pages = 1_000_000
    history.add(reading(0, count=8))
    history.close()
    assert history.degraded == ""
    assert written(registry) + lost(registry) == 501
    counts, _ = hour(history, limit=1000)
    assert len(counts) == written(registry)
    assert counts[-1] == 8


def test_adding_never_blocks_and_what_does_not_fit_is_counted(
    history: History, registry: CollectorRegistry
) -> None:
    for index in range(module.WAITING + 7):  # nobody writes: the thread was not started
        history.add(reading(index / 1000))
    assert lost(registry) == 7


@pytest.mark.parametrize("blocked", ["history.sqlite/", "history.sqlite"])
def test_a_place_that_cannot_hold_it_is_refused_in_one_line(tmp_path: Path, blocked: str) -> None:
    if blocked.endswith("/"):
        (tmp_path / "data" / blocked).mkdir(parents=True)
    else:
        (tmp_path / "data").write_text("a file, no folder")
    with pytest.raises(ConfigError, match="choose --data") as caught:
        History(tmp_path / "data" / "history.sqlite", Keep(), Metrics(CollectorRegistry()))
    assert "\n" not in str(caught.value)


def test_two_services_never_share_a_history(history: History, database: Path) -> None:
    history.start()
    with pytest.raises(ConfigError, match="another service keeps its history there; choose --data"):
        History(database, Keep(), Metrics(CollectorRegistry()))
    history.close()
    after = History(database, Keep(), Metrics(CollectorRegistry()))
    after.start()
    after.close()


def test_what_is_older_than_the_keeping_is_not_told_either(history: History) -> None:
    history.add(reading(7200))
    history.add(reading(60))
    history.start()
    history.close()
    told, _ = history.between("gate", start=NOW - timedelta(hours=9), end=NOW, limit=10)
    assert len(told) == 1


def test_a_history_without_new_readings_is_swept(
    history: History, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_S", 0.05)
    with closing(sqlite3.connect(database)) as connection, connection:
        old = (NOW - timedelta(hours=2)).timestamp()
        connection.execute("INSERT INTO readings VALUES ('gate', ?, 1, 1, 1, '{}')", (old,))

    def rows() -> int:
        with closing(sqlite3.connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM readings").fetchone()[0])

    assert rows() == 1
    history.start()
    wait_until(lambda: rows() == 0, seconds=5, what="a sweep")
