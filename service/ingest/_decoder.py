"""From packets to pictures: what cannot be decoded is told, not raised, unless it goes on."""

from __future__ import annotations  # PyAV's packets are generic to type checkers only

import time
from typing import TypeAlias

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from models.errors import SourceError

GIVE_UP_S = 10.0  # without one picture that can be decoded
BARREN = 3  # key frames in a row without a picture are no accident

VideoPacket: TypeAlias = "Packet[VideoStream]"  # not subscriptable when it runs


class Decoder:
    """One stream's decoder, on one thread: cameras and engine share the cores."""

    def __init__(self) -> None:
        self._failing_s: float | None = None
        self.broken = False
        """The last packet could not be decoded, or gave a corrupt picture."""
        self._barren = 0
        self._anew = True

    def begin(self, video: VideoStream) -> None:
        self._codec = video.codec_context
        self._codec.thread_type, self._codec.thread_count = "NONE", 1

    def pictures(self, packet: VideoPacket, *, alone: bool) -> list[VideoFrame]:
        """The sound pictures that a packet completes.

        `alone`: it is a key frame, and the packets after it will not be given. Raises SourceError
        where nothing could be decoded for long.
        """
        self.broken = False
        try:
            decoded = packet.decode()
            if alone and not decoded:  # it waits for pictures that might have to be shown before
                decoded = self._codec.decode(None)
        except av.error.InvalidDataError:
            self.broken = True
            decoded = []
        if alone or (self._anew and packet.is_keyframe and not self.reorders):
            self._barren = 0 if decoded else self._barren + 1
        self._anew = False
        if alone:
            self.forget()
            self.broken = not decoded
        sound = [picture for picture in decoded if not picture.is_corrupt]
        self.broken = self.broken or len(sound) < len(decoded)
        self._watch_out(failed=not sound)
        return sound

    @property
    def needs_all(self) -> bool:
        """Decoding cannot begin at a key frame: this stream refreshes its pictures bit by bit."""
        return self._barren >= BARREN

    @property
    def reorders(self) -> bool:
        """Pictures are shown in another order than they are coded in."""
        return bool(self._codec.has_b_frames)

    def forget(self) -> None:
        """What comes next does not follow from what came before."""
        self._codec.flush_buffers()
        self._anew = True

    def _watch_out(self, *, failed: bool) -> None:
        if not failed:
            self._failing_s = None
        elif self._failing_s is None:
            self._failing_s = time.monotonic()
        elif time.monotonic() - self._failing_s > GIVE_UP_S:
            raise SourceError(f"nothing could be decoded for {GIVE_UP_S:g} s")
