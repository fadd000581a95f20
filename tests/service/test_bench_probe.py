"""Whether cameras were held: arithmetic on what listeners heard."""

from dataclasses import replace

import pytest

from service.bench.listening import Heard
from service.bench.probe import Goal, delivered_in, not_held

WINDOW = (100.0, 110.0)
RATES = {"a": 2.0, "b": 2.0}


def readings(camera: str, *, late_s: float = 0.1, every_s: float = 0.5) -> Heard:
    """From before the window to after it."""
    times_s = [95 + every_s * i for i in range(round(20 / every_s))]
    return Heard(readings=[(camera, at_s, at_s - late_s) for at_s in times_s])


def test_cameras_that_come_at_their_rate_are_held() -> None:
    heard = replace(readings("b"), heatmaps_s=[99.0, 101.0, 102.0, 110.0])
    got = delivered_in([readings("a"), heard], RATES, window=WINDOW)
    assert (got.counts_per_s, got.heatmaps_per_s) == pytest.approx((4.0, 0.2))
    assert (got.share, got.worst_share, got.silent) == (1.0, 1.0, [])
    assert got.fresh
    assert got.fresh.p50_ms == got.fresh.p99_ms == pytest.approx(100)
    assert not_held(got, Goal()) == ""


def test_percentiles_are_over_all_readings_of_all_listeners() -> None:
    heard = [readings("a", late_s=0.1), readings("b", late_s=0.3)]
    fresh = delivered_in(heard, RATES, window=WINDOW).fresh
    assert fresh
    assert (fresh.p50_ms, fresh.p99_ms) == pytest.approx((200, 300))


@pytest.mark.parametrize(
    ("every_s", "share"), [(2.0, 1.0), (2 / 0.96, 0.96), (2 / 0.94, 0.94), (2 / 0.8, 0.8)]
)
@pytest.mark.parametrize("shift_s", [0.0, 0.4, 0.8, 1.2, 1.6])
def test_the_share_of_a_rate_is_known_to_a_hundredth_wherever_the_window_cuts(
    every_s: float, share: float, shift_s: float
) -> None:
    came_s = [shift_s + every_s * number for number in range(100)]
    heard = Heard(readings=[("a", at_s, at_s - 0.1) for at_s in came_s])
    got = delivered_in([heard], {"a": 0.5}, window=(60.0, 120.0))
    assert got.worst_share == pytest.approx(share, abs=0.01)
    assert (not_held(got, Goal()) == "") is (share > 0.95)


def test_readings_that_are_missing_at_the_end_of_the_window_are_missed() -> None:
    ends = Heard(readings=[one for one in readings("b").readings if one[1] < 108])  # 16 of 20
    got = delivered_in([readings("a"), ends], RATES, window=WINDOW)
    assert got.worst_share == pytest.approx(0.8)


def test_an_old_reading_that_another_listener_was_greeted_with_is_no_gap() -> None:
    greeted = Heard(readings=[("a", 90.0, 89.9)])
    got = delivered_in([readings("a"), readings("b"), greeted], RATES, window=WINDOW)
    assert got.worst_share == 1


def test_late_readings_are_not_held() -> None:
    got = delivered_in([readings("a", late_s=1.2), readings("b")], RATES, window=WINDOW)
    assert not_held(got, Goal()) == "p99 of 1200 ms"
    assert not_held(got, Goal(fresh_s=1.5)) == ""


@pytest.mark.parametrize("state", ["stale", "stalled", "down"])
def test_a_camera_in_trouble_within_the_window_is_not_held(state: str) -> None:
    before = replace(readings("b"), troubles=[("b", 99.0, state)])
    within = replace(readings("b"), troubles=[("b", 104.0, state)])
    assert not_held(delivered_in([readings("a"), before], RATES, window=WINDOW), Goal()) == ""
    got = delivered_in([readings("a"), within], RATES, window=WINDOW)
    assert got.silent == ["b"]
    assert not_held(got, Goal()) == "1 cameras stale or not live"


def test_a_camera_that_falls_silent_is_not_held_whatever_came_before() -> None:
    burst = Heard(readings=[("b", 100.0 + i / 10, 99.9 + i / 10) for i in range(40)])
    got = delivered_in([readings("a"), burst], RATES, window=WINDOW)
    assert got.worst_share == 1.0
    assert got.silent == ["b"]


def test_nothing_heard_and_a_listener_cut_off_are_not_held() -> None:
    nothing = delivered_in([Heard()], RATES, window=WINDOW)
    assert (nothing.fresh, nothing.worst_share) == (None, 0.0)
    assert not_held(nothing, Goal()) == "no readings came"
    cut = replace(readings("b"), ended="the service closed the websocket (1013)")
    got = delivered_in([readings("a"), cut], RATES, window=WINDOW)
    assert not_held(got, Goal()) == cut.ended


def test_messages_of_the_service_are_taken_as_they_are() -> None:
    heard = Heard()
    said = '"camera":"a","captured_at":"1970-01-01T00:01:40.250Z"'
    heard.take(f'{{"type":"reading",{said},"stale":false}}', 101.0)
    heard.take(f'{{"type":"reading",{said},"stale":true}}', 102.0)
    heard.take('{"type":"state","camera":"a","state":"live"}', 103.0)
    heard.take('{"type":"state","camera":"a","state":"stalled"}', 104.0)
    heard.take('{"type":"hello","cameras":[]}', 104.0)
    heard.take(b"a heatmap", 105.0)
    assert heard.readings == [("a", 101.0, 100.25), ("a", 102.0, 100.25)]
    assert heard.troubles == [("a", 102.0, "stale"), ("a", 104.0, "stalled")]
    assert heard.heatmaps_s == [105.0]
