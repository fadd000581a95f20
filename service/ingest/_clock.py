"""When a picture was taken: what its time stamp and the arrival of its packet say together.

Times are seconds of the monotonic clock, stamps seconds of the stream's own.
"""

from collections import deque
from typing import Protocol

WAITED_S = 0.004  # a packet that takes longer came from the camera, not from a buffer
WINDOW_S = 30.0  # clocks of cameras drift by up to 0.1 %: 30 ms until an old estimate has gone
JUMP_S = 2.0
REORDER_S = 0.5  # so far back stamps step where pictures are coded in another order
VAIN_S = 1.0  # of reading, without decoding, must shorten a delay
GAP_S = 10.0  # a longer pause in a file is a jump of its stamps, not a pause


class Clock(Protocol):
    """Told of every packet in the order of arrival; asked about packets and pictures."""

    def note(self, stamp_s: float | None, *, asked_s: float, came_s: float) -> float:
        """A packet was asked for and came. Gives its time on the stream's own scale."""

    def captured_s(self, stamp_s: float | None) -> float:
        """When a picture of the newest packets was taken."""

    def restart(self) -> None:
        """The stamps do not say what they seem to: begin again with the newest packet."""

    def begin(self, *, picture_s: float) -> None:
        """A round of the stream begins; a picture that does not say its time lasts `picture_s`."""


class LiveClock:
    """A camera: a picture was taken when it would have come on the quickest way of late.

    Where the reader cannot keep up, packets wait in buffers, and their arrival alone would hide it.
    """

    def __init__(self) -> None:
        self._offsets: deque[tuple[float, float]] = deque()  # (came, arrival - stamp), both rising
        self._stamp_s: float | None = None
        self._came_s = 0.0
        self._alone_s: float | None = None

    def note(self, stamp_s: float | None, *, asked_s: float, came_s: float) -> float:
        waited = came_s - asked_s > WAITED_S
        if waited or self._alone_s is None:
            self._alone_s = came_s
        self._came_s = came_s
        if stamp_s is None:
            return came_s
        if self._stamp_s is not None:
            step_s = stamp_s - self._stamp_s
            if step_s < -REORDER_S or came_s - asked_s > step_s + JUMP_S:
                self._offsets.clear()
        self._stamp_s = stamp_s
        self._learn(came_s - stamp_s, waited=waited)
        return stamp_s

    def captured_s(self, stamp_s: float | None) -> float:
        """Never later than the newest packet.

        Without a stamp: its arrival, if it had to be waited for; else that of the last one which
        had, since nobody knows how long it lay in a buffer.
        """
        if stamp_s is None or not self._offsets:
            return self._came_s if self._alone_s is None else self._alone_s
        return min(stamp_s + self._offsets[0][1], self._came_s)

    def restart(self) -> None:
        self._offsets.clear()
        self._alone_s = self._came_s
        if self._stamp_s is not None:
            self._learn(self._came_s - self._stamp_s, waited=True)

    def begin(self, *, picture_s: float) -> None:
        """A camera has but one."""

    def _learn(self, offset_s: float, *, waited: bool) -> None:
        """The smallest offset of the window comes first.

        A packet from a buffer tells how quick the way is only where it beats the others: of what it
        waited for, the window must learn nothing, or it would call a steady delay the way.
        """
        offsets = self._offsets
        if not waited and offsets and offset_s >= offsets[0][1]:
            return
        while offsets and offsets[-1][1] >= offset_s:
            offsets.pop()
        offsets.append((self._came_s, offset_s))
        while offsets[0][0] < self._came_s - WINDOW_S:
            offsets.popleft()


class PlayedClock:
    """A file, or what comes like one: a picture is taken when it is due to be played."""

    def __init__(self) -> None:
        self._picture_s = self._from_s = self._zero_s = 0.0
        self._stamp_s: float | None = None
        self._came_s = 0.0

    def note(self, stamp_s: float | None, *, asked_s: float, came_s: float) -> float:
        self._came_s = came_s
        last_s = self._stamp_s
        if last_s is None:
            stamp_s = stamp_s or 0.0
            self._zero_s = max(came_s, self._from_s) - stamp_s
        elif stamp_s is None:
            stamp_s = last_s + self._picture_s
        elif not -REORDER_S <= stamp_s - last_s <= GAP_S:
            self._zero_s = max(came_s, self._zero_s + last_s + self._picture_s) - stamp_s
        self._stamp_s = stamp_s
        return stamp_s

    def captured_s(self, stamp_s: float | None) -> float:
        """In the future as long as it is not due."""
        stamp_s = self._stamp_s if stamp_s is None else stamp_s
        return self._zero_s + (stamp_s or 0.0)

    def restart(self) -> None:
        self._zero_s = self._came_s - (self._stamp_s or 0.0)

    def begin(self, *, picture_s: float) -> None:
        """With the first packet, and not before the last picture has been shown."""
        if self._stamp_s is not None:
            self._from_s = self.captured_s(None) + picture_s
        self._picture_s, self._stamp_s = picture_s, None


class Delay:
    """Whether packets come too late, and whether it is the reader who is slow."""

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._since: tuple[float, float] | None = None  # when it grew too long, and how long
        self.is_not_ours = False
        """Reading alone, which is quick, makes it no shorter: the stamps or the way do it."""

    def is_long(self, late_s: float, came_s: float) -> bool:
        self.is_not_ours = False
        if late_s <= self._max_age_s:
            self._since = None
            return False
        self._since = self._since or (came_s, late_s)
        for_s, shorter_s = came_s - self._since[0], self._since[1] - late_s
        self.is_not_ours = for_s > VAIN_S and shorter_s < for_s / 2
        return True
