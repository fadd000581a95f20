"""Which pictures are due, and how often they and the key frames come.

Times are seconds; a rate is frames a second.
"""

import math
from collections import deque

from service.ingest import Decode, Decoding

EARLY_S, EARLY = 0.01, 0.25  # seconds and share of a period: pictures come with some jitter
MEASURE_S = 1.0
FPS, KEYFRAME_S = 25.0, 2.0  # until they are known: as most cameras leave the factory
OF = 3  # intervals of key frames are remembered
PAUSE_S = 60.0  # a longer step is a jump of the stamps
ENOUGH = 1.05  # key frames that come so much more slowly than asked still meet the rate
NEAR = 0.02  # a rate gives way by so much, that its pictures fall on key frames
STEADY = 1.05  # the longest of the last intervals of key frames over the shortest


class Pace:
    """Due is what comes about the next point of a grid, or after it.

    The rate may change at any moment; the grid keeps the mean rate right in between, also where
    pictures come early or late.
    """

    def __init__(self) -> None:
        self._served_s = self._blamed_s = -math.inf

    def due(self, at_s: float, rate: float) -> bool:
        since_s = at_s - self._served_s
        return since_s >= _least_s(rate) or since_s < -1 / rate  # or time stepped back

    def until_s(self, at_s: float, rate: float) -> float:
        """From a time to the next that is due."""
        return self._served_s + _least_s(rate) - at_s

    def begin(self, at_s: float, rate: float) -> None:
        """The grid has a point here, which is due."""
        self._served_s = at_s - 1 / rate

    def serve(self, at_s: float, rate: float) -> None:
        """What was due was given, or given up."""
        since_s, every_s = at_s - self._served_s, 1 / rate
        on_grid = _least_s(rate) <= since_s < 2 * every_s
        self._served_s = self._served_s + every_s if on_grid else at_s
        self._blamed_s = -math.inf

    def blame(self, at_s: float, rate: float) -> bool:
        """What was due is broken, and the next picture is due instead. True once a due time."""
        first = not 0 <= at_s - self._blamed_s < _least_s(rate)
        if first:
            self._blamed_s = at_s
        return first


def _least_s(rate: float) -> float:
    """From one point of the grid to a picture for the next."""
    return 1 / rate - min(EARLY_S, EARLY / rate)


class Rhythm:
    """Measures a stream by the times of its packets."""

    def __init__(self) -> None:
        self.fps: float | None = None
        self.keyframe_s: float | None = None
        """From one key frame to the next: the median of the last three."""
        self._from_s = self._last_s = math.nan
        self._count = 0
        self._key_s: float | None = None
        self._intervals: deque[float] = deque(maxlen=OF)

    def note(self, at_s: float, *, key: bool) -> None:
        if not 0 <= at_s - self._last_s <= PAUSE_S:
            self._from_s, self._count, self._key_s = at_s, 0, None
        else:
            self._count += 1
        self._last_s = at_s
        if self._count and at_s - self._from_s >= MEASURE_S:
            self.fps = self._count / (at_s - self._from_s)
            self._from_s, self._count = at_s, 0
        if key:
            if self._key_s is not None and at_s > self._key_s:
                self._intervals.append(at_s - self._key_s)
                self.keyframe_s = sorted(self._intervals)[len(self._intervals) // 2]
            self._key_s = at_s

    @property
    def rest_s(self) -> float | None:
        """From the newest picture to the last one before a key frame, as they have come so far.

        None: there was no key frame yet, or the next one is overdue.
        """
        if self._key_s is None:
            return None
        picture_s = 1 / (self.fps or FPS)
        rest_s = self._key_s + (self.keyframe_s or KEYFRAME_S) - self._last_s - picture_s
        return rest_s if rest_s > -2 * picture_s else None

    def in_step(self, rate: float) -> float | None:
        """The rate next to it of which a picture falls on every key frame; None: none is near."""
        if self.keyframe_s is None or len(self._intervals) < OF:
            return None
        if max(self._intervals) > STEADY * min(self._intervals):
            return None
        near = round(rate * self.keyframe_s) / self.keyframe_s
        return near if abs(near - rate) <= NEAR * rate else None

    def cheapest(self, decode: Decode, rate: float) -> Decoding:
        """Key frames alone, where they meet the rate; a late one is reason enough for all."""
        if decode != "auto":
            return decode
        if self.keyframe_s is None or max(self.keyframe_s, self._intervals[-1]) > ENOUGH / rate:
            return "all"
        return "keyframes"
