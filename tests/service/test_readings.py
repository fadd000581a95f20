"""What a reading says of itself."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.readings import Reading, State, timestamp


def reading(*, age_s: float = 0.0, state: State = "live", truth: float | None = None) -> Reading:
    return Reading(
        camera="gate",
        seq=7,
        captured_at=datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC),
        captured_s=time.monotonic() - age_s,
        count=41.2345,
        interval=(31.26, 52.04),
        zones={"left": 10.004},
        fps=1.999,
        state=state,
        truth=truth,
    )


def test_a_message_is_rounded_and_complete() -> None:
    message = reading().message()
    assert 0 <= message.pop("age_ms") < 1000
    assert message == {
        "type": "reading",
        "schema": 1,
        "camera": "gate",
        "seq": 7,
        "captured_at": "2026-01-02T03:04:05.678Z",
        "count": 41.23,
        "interval": [31.26, 52.04],
        "zones": {"left": 10.0},
        "state": "live",
        "stale": False,
        "fps": 2.0,
        "valid": True,
    }


@pytest.mark.parametrize(
    ("age_s", "state", "stale"),
    [(1, "live", False), (6, "live", True), (1, "stalled", True), (1, "down", True)],
)
def test_a_reading_is_stale_by_its_age_or_its_camera(
    age_s: float, state: State, stale: bool
) -> None:
    message = reading(age_s=age_s, state=state).message()
    assert message["stale"] is stale
    assert message["age_ms"] >= age_s * 1000


def test_the_truth_is_told_only_where_it_is_known() -> None:
    assert "truth" not in reading().message()
    assert reading(truth=40).message()["truth"] == 40


def test_another_state_is_another_reading() -> None:
    live = reading()
    assert live.in_state("down").state == "down"
    assert live.state == "live"


def test_a_time_ends_in_z() -> None:
    assert timestamp(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000Z"


def test_rounding_never_puts_a_count_outside_its_interval() -> None:
    tiny = replace(reading(), count=0.1899, interval=(0.1899, 0.1901)).message()
    assert tiny["interval"][0] <= tiny["count"] <= tiny["interval"][1]


def test_an_invalid_reading_says_so_and_why() -> None:
    bad = replace(reading(), invalid="black")
    assert not bad.valid
    message = bad.message()
    assert (message["valid"], message["invalid"], message["stale"]) == (False, "black", False)
    assert "invalid" not in reading().message()
