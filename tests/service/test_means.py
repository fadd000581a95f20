"""What the history says of long spans: means of stretches, and their CSV."""

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from service import history
from service.means import as_csv, means

NOON_S = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
DAY = (0.0, 2 * NOON_S)
Zones = dict[str, float]


@pytest.fixture
def readings() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(history._SCHEMA)
        yield connection


def _kept(readings: sqlite3.Connection, at_s: float, count: float, zones: Zones) -> None:
    row = ("gate", NOON_S + at_s, count, count - 1, count + 2, json.dumps(zones))
    readings.execute("INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?)", row)


def test_a_stretch_has_the_means_of_its_readings_and_its_extremes(
    readings: sqlite3.Connection,
) -> None:
    for at_s, count, left in ((0, 10, 1), (59.9, 20, 3), (60, 7, 2)):
        _kept(readings, at_s, count, {"left": left})
    first, second = means(readings, "gate", span_s=DAY, every_s=60, limit=10)
    assert first.begins_at == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert (first.readings, first.count, first.interval) == (2, 15, (14, 17))
    assert (first.lowest, first.highest, first.zones) == (10, 20, {"left": 2})
    assert (second.readings, second.count, second.zones) == (1, 7, {"left": 2})


def test_a_stretch_without_readings_is_not_made_up(readings: sqlite3.Connection) -> None:
    for at_s in (0, 300):
        _kept(readings, at_s, 5, {})
    found = means(readings, "gate", span_s=DAY, every_s=60, limit=10)
    assert [one.begins_at.minute for one in found] == [0, 5]


def test_a_span_and_a_limit_leave_the_newest_of_what_was_asked(
    readings: sqlite3.Connection,
) -> None:
    for minute in range(10):
        _kept(readings, 60 * minute, minute, {})
    span = (NOON_S + 120, NOON_S + 480)
    found = means(readings, "gate", span_s=span, every_s=60, limit=3)
    assert [one.count for one in found] == [6, 7, 8]
    assert means(readings, "hall", span_s=DAY, every_s=60, limit=3) == []


def test_the_csv_has_a_column_a_zone_that_is_empty_before_there_was_one(
    readings: sqlite3.Connection,
) -> None:
    _kept(readings, 0, 5.127, {})
    _kept(readings, 60, 6, {"a, b": 2})
    written = as_csv(means(readings, "gate", span_s=DAY, every_s=60, limit=10))
    early, late = csv.DictReader(written.splitlines())
    assert early["begins_at"] == "2026-11-23T12:00:00.000Z"
    assert (early["count"], early["low"], early["high"]) == ("5.13", "4.13", "7.13")
    assert (early["zone a, b"], late["zone a, b"]) == ("", "2.0")


def test_no_readings_are_a_head_without_lines() -> None:
    assert as_csv([]).splitlines() == ["begins_at,readings,count,low,high,lowest,highest"]
