"""Pacing, against machines that are simulated second by second."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from models.errors import Overloaded
from service import pacing
from service.pacing import FLOOR, SPELLS, WEIGHTS, Pace, Sample, Tally, fair, keep_pace
from service.settings import Camera, Priority
from tests.running import wait_until

RATES = st.dictionaries(st.text(max_size=3), st.floats(0.1, 60), max_size=12)
WEIGHT = st.sampled_from(sorted(WEIGHTS.values()))


@dataclass
class Machine:
    """Cameras and what serves them. Every second is worth one second of work.

    Decoding comes first and does not shrink with the rates; scaling comes before counting and is
    lost where the count does not follow.
    """

    asked: dict[str, float]
    count_s: float  # work for a count
    scale_s: float = 0.0  # work for a frame that is given
    decode_s: float = 0.0  # work a second, whatever the rates
    speed: float = 1.0
    pace: Pace = field(default_factory=lambda: Pace(patience_s=1.0))
    shares: dict[str, float] = field(default_factory=dict)
    capacities: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    _owed: float = 0.0  # parts of frames, carried over

    @property
    def can(self) -> float:
        """Counts a second at the best rate."""
        return max(0.0, self.speed - self.decode_s) / (self.count_s + self.scale_s)

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self._second()

    def _second(self) -> None:
        total = sum(self.asked.values())
        given = min(total, self.pace.capacity)
        self._owed += given
        frames = int(self._owed)
        self._owed -= frames
        left = self.speed - self.decode_s - self.scale_s * frames
        counted = max(0, min(frames, round(left / self.count_s)))
        self.pace.feel(Sample(1.0, counted, frames - counted), asked=total)
        self.shares = fair(self.asked, self.pace.capacity)
        self.capacities.append(min(total, self.pace.capacity))
        self.kept.append(counted)


def cameras(number: int, rate: float) -> dict[str, float]:
    return {f"camera {index}": rate for index in range(number)}


@given(asked=RATES, capacity=st.floats(0.1, 500), data=st.data())
def test_shares_are_max_min_fair(
    asked: dict[str, float], capacity: float, data: st.DataObject
) -> None:
    weights = {name: data.draw(WEIGHT) for name in asked}
    shares = fair(asked, capacity, weights)
    assert shares.keys() == asked.keys()
    assert sum(shares.values()) == pytest.approx(min(capacity, sum(asked.values())))
    heights = {name: share / weights[name] for name, share in shares.items()}
    level = max(heights.values(), default=0.0)
    for name, share in shares.items():
        assert 0 < share <= asked[name]
        gets_all = share == pytest.approx(asked[name])
        has_none_above = heights[name] == pytest.approx(max(heights.values()))
        assert gets_all or has_none_above
        assert heights[name] <= level


def test_the_level_is_what_is_left_by_those_who_ask_little() -> None:
    assert fair({"a": 1, "b": 5, "c": 9}, 9) == {"a": 1, "b": 4, "c": 4}
    assert fair({"a": 1, "b": 5, "c": 9}, math.inf) == {"a": 1, "b": 5, "c": 9}
    assert fair({"a": 9, "b": 9}, 6, {"a": 2.0}) == {"a": 4, "b": 2}
    assert fair({}, 5) == {}


def test_every_priority_has_a_weight() -> None:
    assert WEIGHTS.keys() == set(get_args(Priority))
    assert WEIGHTS["low"] < WEIGHTS["normal"] < WEIGHTS["high"]


def test_a_machine_that_is_large_enough_gives_what_is_asked() -> None:
    machine = Machine(cameras(10, 5), count_s=0.01)
    machine.run(100)
    assert machine.shares == machine.asked
    assert machine.pace.load == 1


@pytest.mark.parametrize("overload", [1.5, 2, 5, 20])
def test_rates_come_down_to_what_the_machine_can_do_within_ten_seconds_and_stay(
    overload: float,
) -> None:
    machine = Machine(cameras(20, 50 * overload / 20), count_s=0.02)
    machine.run(300)
    assert machine.can == 50
    assert all(45 <= one <= 57 for one in machine.capacities[9:])
    assert sum(machine.kept[10:]) >= 0.93 * 50 * 290
    assert machine.pace.load == pytest.approx(1 / overload, rel=0.15)


@pytest.mark.parametrize(("decode_s", "scale_s"), [(0.7, 0.0), (0.5, 0.002), (0.3, 0.004)])
def test_rates_settle_where_they_are_only_a_part_of_the_work(
    decode_s: float, scale_s: float
) -> None:
    machine = Machine(cameras(20, 5), count_s=0.02, scale_s=scale_s, decode_s=decode_s)
    machine.run(300)
    soon = 24 if scale_s else 9  # what was scaled for nothing made the machine look slower
    settled = machine.capacities[soon:]
    assert all(0.9 * machine.can <= one <= 1.2 * machine.can for one in settled)
    assert max(machine.capacities[9:]) <= 1.2 * machine.can


def test_where_decoding_alone_is_too_much_every_camera_is_still_asked_for_a_little() -> None:
    machine = Machine(cameras(20, 5), count_s=0.02, decode_s=0.999)
    machine.run(300)
    assert min(machine.capacities) >= 5
    assert min(machine.shares.values()) >= 0.25


def _short(pace: Pace, *, asked: float) -> None:
    for _ in range(SPELLS):
        pace.feel(Sample(1.0, counted=5, short=5), asked=asked)


def test_a_shortage_felt_while_no_camera_gives_frames_teaches_nothing() -> None:
    pace = Pace(patience_s=1)
    _short(pace, asked=0)
    assert pace.capacity == math.inf


def test_every_camera_is_asked_for_a_little_after_a_shortage_felt_with_few_of_them() -> None:
    pace = Pace(patience_s=1)
    _short(pace, asked=1)
    pace.feel(Sample(1.0, counted=5), asked=100)
    assert pace.load >= FLOOR


def test_a_rate_that_rests_at_the_limit_is_tried_less_and_less_often() -> None:
    machine = Machine(cameras(20, 5), count_s=0.02)
    machine.run(400)
    before, since = machine.capacities[300:-1], machine.capacities[301:]
    moves = [one for one, other in zip(before, since, strict=True) if one != other]
    assert 0 < len(moves) <= 8  # two tries, of two raises and a fall each
    assert sum(machine.kept[300:]) >= 0.95 * 50 * 100


def test_what_was_taken_comes_back_when_there_is_time_again() -> None:
    machine = Machine(cameras(20, 5), count_s=0.02)
    machine.run(300)
    machine.speed = 4.0
    machine.run(100)
    assert machine.shares == machine.asked
    assert machine.pace.load == 1


def test_cameras_that_leave_make_room_for_the_others_at_once() -> None:
    machine = Machine(cameras(20, 5), count_s=0.02)
    machine.run(30)
    for name in list(machine.asked)[8:]:
        del machine.asked[name]
    machine.run(1)
    assert machine.shares == machine.asked


def test_a_machine_that_slows_down_further_is_followed() -> None:
    machine = Machine(cameras(20, 5), count_s=0.02)
    machine.run(300)
    machine.speed = 0.5
    machine.run(10)
    assert 22 <= machine.capacities[-1] <= 28


@pytest.mark.parametrize("load", [0.5, 0.9])
@pytest.mark.parametrize("speed", [0.0, 0.3])
def test_a_hiccup_of_two_seconds_moves_nothing(load: float, speed: float) -> None:
    machine = Machine(cameras(20, 2.5 * load), count_s=0.02)
    for stage in (1.0, (1 + speed) / 2, speed, (1 + speed) / 2, 1.0):  # it starts amid a second
        machine.speed = stage
        machine.run(20 if stage == 1.0 else 1)
    assert machine.shares == machine.asked
    assert set(machine.capacities) == {50 * load}


def test_an_engine_that_stands_still_for_long_says_nothing_of_its_speed() -> None:
    machine = Machine(cameras(20, 2), count_s=0.02)
    machine.run(10)
    machine.speed = 0
    machine.run(60)
    assert machine.shares == machine.asked


def test_a_slow_engine_with_one_camera_is_paced_too() -> None:
    machine = Machine(cameras(1, 4), count_s=1.0)
    machine.run(60)
    assert machine.capacities[-1] == pytest.approx(1.0, rel=0.3)


def test_frames_that_wait_long_are_a_shortage_though_none_is_lost() -> None:
    pace = Pace(patience_s=1.0)
    for _ in range(10):
        pace.feel(Sample(1.0, counted=20, waited_s=15.0), asked=20)
    assert pace.load == 1
    for _ in range(10):
        pace.feel(Sample(1.0, counted=20, waited_s=25.0), asked=20)
    assert 0.8 < pace.load < 1


def test_without_cameras_nothing_is_short() -> None:
    pace = Pace(patience_s=1.0)
    for _ in range(10):
        pace.feel(Sample(1.0), asked=0)
    assert (pace.load, pace.capacity) == (1, math.inf)
    pace.admit()


def test_a_short_machine_takes_no_further_camera_until_it_has_time_again() -> None:
    machine = Machine(cameras(20, 5), count_s=0.02)
    machine.pace.admit()
    machine.run(60)
    with pytest.raises(Overloaded, match="% of the counts") as refused:
        machine.pace.admit()
    assert 10 <= refused.value.retry_after_s <= 60
    machine.speed = 4.0
    machine.run(100)
    machine.pace.admit()


def test_a_machine_that_is_just_full_still_takes_cameras() -> None:
    machine = Machine(cameras(20, 2.55), count_s=0.02)
    machine.run(200)
    machine.pace.admit()


def test_a_tally_starts_anew_with_each_sample() -> None:
    tally = Tally()
    tally.counted, tally.short, tally.waited_s = 3, 1, 0.6
    sample = tally.take(1.5, cameras=2)
    assert sample == Sample(1.5, 3, 1, 0.6)
    assert (sample.frames, sample.kept) == (4, 0.75)
    assert sample.wait_s == pytest.approx(0.2)
    assert tally.take(1.0, cameras=2) == Sample(1.0)
    assert (Sample().kept, Sample().wait_s) == (1, 0)


def test_late_frames_count_only_where_most_cameras_are_late() -> None:
    tally = Tally()
    for name, why in (("a", "late"), ("a", "late"), ("b", "busy"), ("c", "corrupt")):
        tally.lost(name, why, 2)
    assert tally.take(1.0, cameras=3) == Sample(1.0, short=2)
    for name in ("a", "b", "a"):
        tally.lost(name, "late", 2)
    assert tally.take(1.0, cameras=3) == Sample(1.0, short=6)
    tally.lost("a", "late", 1)
    assert tally.take(1.0, cameras=1) == Sample(1.0, short=1)


@dataclass
class Rates:
    """Cameras that remember what they were told that was new to them."""

    cameras: dict[str, Camera]
    told: list[tuple[str, float]] = field(default_factory=list)
    now: dict[str, float] = field(default_factory=dict)

    def asked(self) -> Mapping[str, float]:
        return {name: camera.rate for name, camera in self.cameras.items()}

    def settings(self, name: str) -> Camera:
        return self.cameras[name]

    def set_rate(self, name: str, rate: float) -> None:
        if self.now.get(name) != rate:
            self.told.append((name, rate))
        self.now[name] = rate


@pytest.mark.anyio
async def test_cameras_hear_of_their_rate_when_they_come_and_when_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "TICK_S", 0.001)
    gate = Camera(source=SecretStr("demo"), rate=6, priority="high")
    hall = Camera(source=SecretStr("demo"), rate=6)
    rates, tally, pace = Rates({"gate": gate, "hall": hall}), Tally(), Pace(patience_s=1.0)
    loads: list[float] = []
    task = asyncio.create_task(keep_pace(pace, rates, tally, show=loads.append))

    async def ticks(number: int) -> None:
        seen = len(loads)
        await asyncio.to_thread(
            wait_until, lambda: len(loads) >= seen + number, seconds=10, what="ticks"
        )

    await ticks(3)
    assert rates.told == [("gate", 6), ("hall", 6)]
    pace.capacity = 6.0
    await ticks(3)
    assert rates.told[2:] == [("gate", 4), ("hall", 2)]
    assert loads[-1] == 0.5
    del rates.cameras["hall"], rates.now["hall"]
    await ticks(3)
    rates.cameras["hall"] = hall
    await ticks(3)
    assert rates.told[4:] == [("gate", 6), ("gate", 4), ("hall", 2)]
    del rates.now["hall"]  # put again between two ticks, it knows of no shortage
    await ticks(3)
    assert rates.told[7:] == [("hall", 2)]
    task.cancel()
