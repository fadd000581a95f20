"""The order in which numbers of cameras are tried."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.search import confirmed, most_held, step


class Machine:
    """Holds up to a number of cameras, and remembers what it was asked."""

    def __init__(self, can: int) -> None:
        self.can, self.asked = can, list[int]()

    def holds(self, cameras: int) -> bool:
        self.asked.append(cameras)
        return cameras <= self.can


def test_the_number_doubles_until_it_breaks_and_is_halved_between() -> None:
    machine = Machine(can=21)
    assert most_held(machine.holds, start=4, most=256) == 21
    assert machine.asked == [4, 8, 16, 32, 24, 20, 22, 21]


def test_a_start_that_is_too_high_is_searched_below() -> None:
    machine = Machine(can=3)
    assert most_held(machine.holds, start=16, most=256) == 3
    assert machine.asked == [16, 8, 4, 2, 3]


def test_a_machine_that_holds_nothing_says_zero() -> None:
    assert most_held(Machine(can=0).holds, start=4, most=256) == 0
    assert confirmed(Machine(can=0).holds, 3) == 0
    assert confirmed(Machine(can=9).holds, 0) == 0


def test_the_limit_is_tried_and_never_passed() -> None:
    machine = Machine(can=1000)
    assert most_held(machine.holds, start=4, most=100) == 100
    assert machine.asked == [4, 8, 16, 32, 64, 100]


@given(
    can=st.integers(0, 300), start=st.integers(1, 300), most=st.integers(1, 300)
)  # fmt: skip
def test_what_is_found_is_held_to_within_a_step_and_nothing_is_asked_twice(
    can: int, start: int, most: int
) -> None:
    machine = Machine(can)
    found = most_held(machine.holds, start=start, most=most)
    assert found <= min(can, most)
    assert found + step(found) >= min(can, most)
    assert len(set(machine.asked)) == len(machine.asked)
    assert max(machine.asked) <= most


@pytest.mark.parametrize(("can", "asked"), [(100, [100]), (91, [100, 95, 91]), (1, [3, 2, 1])])
def test_what_is_not_confirmed_is_tried_a_step_lower(can: int, asked: list[int]) -> None:
    machine = Machine(can)
    assert confirmed(machine.holds, asked[0]) == asked[-1]
    assert machine.asked == asked
