"""Capture times, by scripted stamps and arrivals."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingest._clock import Clock, Delay, LiveClock, PlayedClock

WAY_S = 0.05  # from the lens to the reader, at best
BEGAN_S = 1000.0


@dataclass
class Packet:
    """`waited_s`: how long the reader had been asking for it when it came."""

    stamp_s: float | None
    came_s: float
    waited_s: float = 0.03


def ages(packets: Iterable[Packet], clock: Clock | None = None) -> list[float]:
    """How old each packet's picture is said to be when it comes."""
    clock, said = clock or LiveClock(), []
    for packet in packets:
        clock.note(packet.stamp_s, asked_s=packet.came_s - packet.waited_s, came_s=packet.came_s)
        said.append(packet.came_s - clock.captured_s(packet.stamp_s))
    return said


def steady(seconds: float, *, fps: int = 25, drift: float = 0.0) -> list[Packet]:
    """A camera that is read at once; its clock runs fast by `drift`."""
    times = [number / fps for number in range(round(seconds * fps))]
    return [Packet(time_s * (1 + drift), BEGAN_S + time_s + WAY_S) for time_s in times]


def behind(packets: list[Packet], late_s: float) -> list[Packet]:
    """The same, read from buffers."""
    return [Packet(one.stamp_s, one.came_s + late_s, waited_s=0.0) for one in packets]


def test_pictures_of_a_quick_reader_are_new() -> None:
    assert ages(steady(2)) == pytest.approx([0] * 50)


def test_a_packet_that_came_late_is_as_old_as_its_stamp_says() -> None:
    packets = steady(1)
    packets[20].came_s += 0.4
    assert ages(packets)[20] == pytest.approx(0.4, abs=0.002)


def test_a_reader_that_cannot_keep_up_sees_its_pictures_age() -> None:
    packets = steady(4)
    for number, packet in enumerate(packets[25:]):
        packet.came_s, packet.waited_s = packet.came_s + number * 0.04, 0.0
    said = ages(packets)
    assert said[25:] == pytest.approx([number * 0.04 for number in range(75)])


def test_a_delay_of_minutes_does_not_become_the_normal_way() -> None:
    packets = steady(200)
    late = ages(packets[:250] + behind(packets[250:], 1.5))
    assert late[-1] == pytest.approx(1.5)


@pytest.mark.parametrize("drift", [0.001, -0.001])
def test_a_camera_whose_clock_drifts_is_followed(drift: float) -> None:
    said = ages(steady(600, drift=drift))
    assert max(said) < 0.04


def test_what_was_buffered_before_reading_began_does_not_make_the_rest_look_late() -> None:
    packets = steady(4)
    for packet in packets[:50]:
        packet.came_s, packet.waited_s = packets[49].came_s, 0.0
    assert ages(packets)[50:] == pytest.approx([0] * 50)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 44_121.9, -1.0])
def test_a_jump_of_the_stamps_begins_anew_with_the_arrival(jump_s: float) -> None:
    packets = steady(4)
    for packet in packets[50:]:
        packet.stamp_s = (packet.stamp_s or 0) + jump_s
    assert ages(packets) == pytest.approx([0] * 100, abs=1e-6)


def test_pictures_that_a_silent_network_held_back_are_as_old_as_they_are() -> None:
    packets = steady(8)
    silent_s, held = 4.0, packets[50:150]
    again_s = held[0].came_s + silent_s
    for packet in held:
        packet.came_s, packet.waited_s = again_s, 0.0
    held[0].waited_s = silent_s
    said = ages(packets)[50:150]
    assert said == pytest.approx([silent_s - number / 25 for number in range(100)], abs=0.02)


def test_a_camera_that_paused_is_soon_not_taken_for_late() -> None:
    """Its stamps stood still meanwhile: what comes is late, and reading on does not shorten it."""
    clock, delay, packets = LiveClock(), Delay(2.0), steady(6)
    for packet in packets[25:]:
        packet.came_s += 5
    packets[25].waited_s = 5
    said = []
    for packet in packets:
        said += ages([packet], clock)
        delay.is_long(said[-1], packet.came_s)
        if delay.is_not_ours:
            clock.restart()
    assert said[25] == pytest.approx(5, abs=0.02)
    assert said[25 + 30 :] == pytest.approx([0] * (len(packets) - 55))


@pytest.mark.parametrize("slow_every", [0, 25, 700])
def test_a_reader_a_little_too_slow_hides_nothing_however_busy_the_machine(slow_every: int) -> None:
    """A read from a full buffer takes long now and then, which looks as if it had been waited for.

    What is late is read and not decoded.
    """
    clock, delay = LiveClock(), Delay(2.0)
    now_s, hidden = BEGAN_S, []
    for number in range(25 * 600):
        taken_s = BEGAN_S + number / 25
        read_s = 0.005 if slow_every and number % slow_every == 0 else 0.0002
        packet = Packet(number / 25, max(now_s + read_s, taken_s + WAY_S))
        packet.waited_s = packet.came_s - now_s
        (age_s,) = ages([packet], clock)
        hidden.append(packet.came_s - taken_s - WAY_S - age_s)
        late = delay.is_long(age_s, packet.came_s)
        now_s = packet.came_s + (0.0003 if late else 1.03 / 25 - read_s)
    assert max(hidden) < 0.1


def test_pictures_coded_in_another_order_are_no_step_back() -> None:
    packets = steady(2)
    for number in range(1, 48, 3):  # the third of three comes first
        one, two, three = packets[number : number + 3]
        packets[number : number + 3] = [
            Packet(three.stamp_s, three.came_s), Packet(one.stamp_s, three.came_s),
            Packet(two.stamp_s, three.came_s),
        ]  # fmt: skip
    said = ages(packets)
    assert said[-10:-1] == pytest.approx([0, 0.08, 0.04] * 3, abs=1e-6)


def test_a_missing_stamp_leaves_the_arrival_and_the_other_stamps() -> None:
    packets = steady(2)
    packets[20].stamp_s = None
    said = ages([*packets[:25], *behind(packets[25:], 0.7)])
    assert said[20] == 0
    assert said[-1] == pytest.approx(0.7)


def test_without_stamps_what_lay_in_a_buffer_is_as_old_as_the_last_that_did_not() -> None:
    packets = [Packet(None, BEGAN_S + number / 10) for number in range(20)]
    for packet in packets[10:]:
        packet.waited_s = 0.0
    assert ages(packets) == pytest.approx([0] * 10 + [number / 10 for number in range(1, 11)])


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(-1e5, 1e5), st.floats(0, 5), st.sampled_from([0.0, 0.02, 3.0])
        ),
        max_size=40,
    )
)
def test_nothing_was_taken_after_it_came(script: list[tuple[float | None, float, float]]) -> None:
    came_s, packets = BEGAN_S, []
    for stamp_s, step_s, waited_s in script:
        came_s += step_s
        packets.append(Packet(stamp_s, came_s, waited_s))
    assert all(age_s >= 0 for age_s in ages(packets))


def test_a_new_start_takes_the_newest_packet_for_new() -> None:
    clock, packets = LiveClock(), steady(4)
    ages(packets[:50] + behind(packets[50:51], 3), clock)
    clock.restart()
    assert ages(behind(packets[51:52], 3), clock) == pytest.approx([0])


def begun() -> PlayedClock:
    clock = PlayedClock()
    clock.begin(picture_s=0.04)
    return clock


def played(clock: PlayedClock, *stamps: float | None, came_s: float = BEGAN_S) -> list[float]:
    """When the pictures of a file are due, in seconds from the first packet."""
    due = []
    for stamp_s in stamps:
        clock.note(stamp_s, asked_s=came_s, came_s=came_s)
        due.append(round(clock.captured_s(stamp_s) - BEGAN_S, 6))
    return due


def test_a_file_plays_at_the_pace_of_its_stamps() -> None:
    assert played(begun(), 7.0, 7.04, 7.08, 9.0) == [0, 0.04, 0.08, 2]


def test_a_file_without_stamps_plays_at_its_rate() -> None:
    assert played(begun(), None, None, None) == [0, 0.04, 0.08]


@pytest.mark.parametrize("jump_s", [-5.0, 3600.0])
def test_a_jump_in_a_file_is_no_pause(jump_s: float) -> None:
    stamps = (0.0, 0.04, 0.08 + jump_s, 0.12 + jump_s)
    assert played(begun(), *stamps) == [0, 0.04, 0.08, 0.12]


def test_a_file_begins_again_when_its_last_picture_was_shown() -> None:
    clock = begun()
    played(clock, 0.0, 0.04)
    clock.begin(picture_s=0.04)
    assert played(clock, 0.0, 0.04) == [0.08, 0.12]


def delays(*late: tuple[float, float]) -> list[tuple[bool, bool]]:
    """(at, late) of packets; whether each is too late, and not by the reader's fault."""
    delay = Delay(2.0)
    return [(delay.is_long(late_s, at_s), delay.is_not_ours) for at_s, late_s in late]


def test_a_delay_that_reading_shortens_is_caught_up_with() -> None:
    said = delays((0, 1.9), (1, 9), (2, 7), (3, 4), (4, 2))
    assert said == [(False, False), *[(True, False)] * 3, (False, False)]


def test_a_delay_that_reading_does_not_shorten_is_not_the_readers() -> None:
    assert delays((0, 3), (0.9, 3), (1.1, 3)) == [(True, False), (True, False), (True, True)]
