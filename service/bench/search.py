"""The most cameras that are held: doubled until they are not, then halved between."""

from collections.abc import Callable

Holds = Callable[[int], bool]


def step(cameras: int) -> int:
    """As fine as it gets: a twentieth."""
    return max(1, cameras // 20)


def most_held(holds: Holds, *, start: int, most: int) -> int:
    """Zero where not one camera is held. Never asks for more than `most`, nor twice for one."""
    held, tried = 0, min(start, most)
    while holds(tried):
        if tried == most:
            return most
        held, tried = tried, min(2 * tried, most)
    broken = tried
    while broken - held > step(held):
        tried = (held + broken) // 2
        if holds(tried):
            held = tried
        else:
            broken = tried
    return held


def confirmed(holds: Holds, found: int) -> int:
    """One step down for each time that it does not hold; zero where nothing does."""
    while found > 0 and not holds(found):
        found -= step(found)
    return max(0, found)
