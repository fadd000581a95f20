"""Means over stretches of time of what the history keeps, and as CSV for a spreadsheet."""

import csv
import io
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.readings import timestamp

_MEANS = """
SELECT CAST(captured_at / :every AS INTEGER) AS stretch, COUNT(*), AVG(count), AVG(low), AVG(high),
    MIN(count), MAX(count)
FROM readings WHERE camera = :camera AND captured_at BETWEEN :start AND :end
GROUP BY stretch ORDER BY stretch DESC LIMIT :limit
"""
_ZONE_MEANS = """
SELECT CAST(captured_at / :every AS INTEGER) AS stretch, zone.key, AVG(zone.value)
FROM readings, json_each(zones) AS zone
WHERE camera = :camera AND captured_at BETWEEN :start AND :end
GROUP BY stretch, zone.key
"""


CSV_HEAD = ("begins_at", "readings", "count", "low", "high", "lowest", "highest")


@dataclass(frozen=True)
class Means:
    """Means over the readings of a stretch of time; a zone that no reading had is not in it."""

    begins_at: datetime
    readings: int
    count: float
    interval: tuple[float, float]
    lowest: float
    highest: float
    zones: Mapping[str, float]


def means(
    readings: sqlite3.Connection,
    camera: str,
    *,
    span_s: tuple[float, float],
    every_s: int,
    limit: int,
) -> list[Means]:
    """The newest `limit` stretches of a span of unix time that have readings, oldest first.

    A stretch begins at a multiple of `every_s` of the clock. SQLite averages, so counting goes on
    beside it.
    """
    start, end = span_s
    asked = {"camera": camera, "every": float(every_s), "start": start, "end": end, "limit": limit}
    zones: dict[int, dict[str, float]] = {}
    for stretch, zone, people in readings.execute(_ZONE_MEANS, asked):
        zones.setdefault(stretch, {})[zone] = people
    found = [
        Means(
            datetime.fromtimestamp(stretch * every_s, UTC), number, count, (low, high),
            lowest, highest, zones.get(stretch, {}),
        )
        for stretch, number, count, low, high, lowest, highest in readings.execute(_MEANS, asked)
    ]  # fmt: skip
    return found[::-1]


def as_csv(means: Sequence[Means]) -> str:
    """A line a stretch; the zones of all of them are columns, empty where a stretch had none."""
    zones = sorted({zone for one in means for zone in one.zones})
    written = io.StringIO()
    lines = csv.writer(written)
    lines.writerow([*CSV_HEAD, *(f"zone {zone}" for zone in zones)])
    for one in means:
        people = (one.count, *one.interval, one.lowest, one.highest)
        inside = (one.zones.get(zone) for zone in zones)
        lines.writerow(
            [
                timestamp(one.begins_at), one.readings, *(round(number, 2) for number in people),
                *("" if number is None else round(number, 2) for number in inside),
            ]
        )  # fmt: skip
    return written.getvalue()
