"""When a picture was taken: what its time stamp and the arrival of its packet say together.

Times are seconds of the monotonic clock, stamps seconds of the stream's own.
"""

from typing import Protocol

WAITED_S = 0.004  # a packet that takes longer came from the camera, not from a buffer
DRIFT = 0.002  # clocks of cameras drift by up to 0.1 %
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
    """A camera: a picture was taken when it would have come on the quickest way that is known.

    Where the reader cannot keep up, or the network held packets back, their arrival alone would
    hide it. A way that grew longer is believed no faster than a camera's clock could drift: until
    then pictures are said to be older than they are, never younger.
    """

    def __init__(self) -> None:
        self._way_s: float | None = None  # arrival - stamp
        self._stamp_s: float | None = None
        self._came_s = 0.0
        self._alone_s: float | None = None

    def note(self, stamp_s: float | None, *, asked_s: float, came_s: float) -> float:
        waited = came_s - asked_s > WAITED_S
        if waited or self._alone_s is None:
            self._alone_s = came_s
        passed_s, self._came_s = came_s - self._came_s, came_s
        if stamp_s is None:
            return came_s
        offset_s = came_s - stamp_s
        stepped_back = self._stamp_s is not None and stamp_s - self._stamp_s < -REORDER_S
        if self._way_s is None or stepped_back:
            self._way_s = offset_s
        else:
            drifted_s = DRIFT * passed_s if waited else 0.0
            self._way_s = min(offset_s, self._way_s + drifted_s)
        self._stamp_s = stamp_s
        return stamp_s

    def captured_s(self, stamp_s: float | None) -> float:
        """Never later than the newest packet.

        Without a stamp: its arrival, if it had to be waited for; else that of the last one which
        had, since nobody knows how long it lay in a buffer.
        """
        if stamp_s is None or self._way_s is None:
            return self._came_s if self._alone_s is None else self._alone_s
        return min(stamp_s + self._way_s, self._came_s)

    def restart(self) -> None:
        self._alone_s = self._came_s
        self._way_s = None if self._stamp_s is None else self._came_s - self._stamp_s

    def begin(self, *, picture_s: float) -> None:
        """A camera has but one."""


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
