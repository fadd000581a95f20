"""Whether pictures show what was there: one that did not come whole spoils those predicted from it.

Decoders fill what is missing with what they have, and flag that picture alone. What follows looks
whole to them, and is not, up to the next key frame. Times are seconds.
"""

from __future__ import annotations  # PyAV's packets are generic to type checkers only

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.ingest._decoder import VideoPacket

MISSING = 1.5  # periods of pictures: a longer step between two of them has lost one
HEALS_S = 10.0  # streams without key frames refresh all of the picture sooner
FOREVER_S = 60.0  # without a key frame: it takes a new connection to get one


class Damage:
    """Told of every packet that is decoded, and of what came of it.

    `lossy`: packets may be lost on the way, so that whole pictures are missing without a trace.
    """

    def __init__(self, *, lossy: bool) -> None:
        self._lossy = lossy
        self._last_s: float | None = None
        self._since_s: float | None = None

    @property
    def lasts(self) -> bool:
        return self._since_s is not None

    def note(self, packet: VideoPacket, at_s: float, *, fps: float | None) -> None:
        """This packet, of a picture of that time, comes next. Key frames follow from nothing."""
        stamp, base = packet.pts if packet.dts is None else packet.dts, packet.time_base
        stamp_s = None if stamp is None or base is None else float(stamp * base)
        last_s, self._last_s = self._last_s, stamp_s
        if not self._lossy or packet.is_keyframe or None in (stamp_s, last_s) or fps is None:
            return
        if (stamp_s or 0.0) - (last_s or 0.0) > MISSING / fps:
            self.begin(at_s)

    def begin(self, at_s: float) -> None:
        self._since_s = at_s

    def lasts_for(self, at_s: float) -> float:
        """Seconds since it was last done; 0 where there is none."""
        return 0.0 if self._since_s is None else at_s - self._since_s

    def end(self) -> None:
        self._since_s = None
