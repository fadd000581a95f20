"""Reading video with PyAV: explicit time-outs, no more decoded than needed, scaling in swscale.

Every message of the library carries the full address with its password, so none leaves this file:
errors are told by their class, without their cause.
"""

from __future__ import annotations  # PyAV's packets are generic to type checkers only

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import av
from av.container import InputContainer
from av.video.frame import VideoFrame

from models.errors import SourceEnded, SourceError, SourceRefused
from service.ingest import Ask, Decoding, Frame, Watch
from service.ingest._clock import WAITED_S, Clock, Delay, LiveClock, PlayedClock
from service.ingest._damage import FOREVER_S, HEALS_S, Damage
from service.ingest._decoder import Decoder, VideoPacket
from service.ingest._pace import FPS, Pace, Rhythm
from service.ingest._scaler import Scaler
from service.ingest._told import Told

BURST = 4
"""So many pictures that nobody asked for are decoded in one go. One by one, each would find the
processor's caches taken by others: that costs small pictures half, large ones a tenth."""
HELD = 256
"""So many packets at most are held until a key frame makes them needless. More are given up: if it
does not come then, there is no picture before it does."""
BACKLOG_S = 5.0  # reading a backlog takes no longer, also where decoding never catches up
NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS
REFUSED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)
SILENT = (av.error.ExitError, TimeoutError)
BROKEN = (av.error.FFmpegError, OSError, ValueError, RuntimeError)

T = TypeVar("T")


@dataclass(frozen=True)
class How:
    """How an address is opened."""

    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    live: bool = True
    """Live streams come at their own pace; files are played at the pace of their time stamps."""
    loop: bool = False


def frames(ask: Ask, watch: Watch, how: How) -> Iterator[Frame]:
    """Frames of an address, until it ends or the watch stops it."""
    reading, again = _Reading(ask, watch, how), True
    while again:
        with closing(_open(ask, how)) as container:
            try:
                yield from reading.frames(container)
            except SILENT:
                raise SourceError(f"no answer within {ask.read_timeout_s:g} s any more") from None
            except BROKEN as error:
                raise SourceError(f"reading failed: {type(error).__name__}") from None
        again = how.loop and reading.has_packets and not watch.wait(reading.ahead_s)
    if not watch.stopped:
        raise SourceEnded("the stream ended") if not how.live else SourceError("the stream ended")


def _open(ask: Ask, how: How) -> InputContainer:
    av.logging.set_level(None)  # FFmpeg's own log lines carry addresses
    began_s = time.monotonic()
    try:
        container = av.open(
            ask.source,
            format=how.format,
            options=how.options,
            timeout=(ask.open_timeout_s, ask.read_timeout_s),
        )
    except BROKEN as error:
        raise _refusal(error, ask, after_s=time.monotonic() - began_s) from None
    if not container.streams.video:
        container.close()
        raise SourceError("there is no video in it")
    return container


def _refusal(error: Exception, ask: Ask, *, after_s: float) -> SourceError:
    if isinstance(error, REFUSED):
        return SourceRefused("the camera refuses this login")
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceError("the camera has no such stream")
    if isinstance(error, ConnectionRefusedError):
        return SourceError("the camera refuses the connection")
    if isinstance(error, SILENT) or after_s >= ask.open_timeout_s:  # RTSP calls silence bad data
        return SourceError(f"no answer within {ask.open_timeout_s:g} s")
    return SourceError(f"cannot be opened: {type(error).__name__}")


class Came(NamedTuple, Generic[T]):
    """A packet, when it was asked for and came, and whether it is as fresh as its arrival says."""

    packet: T
    asked_s: float
    came_s: float
    fresh: bool


def arriving(
    packets: Iterable[T], *, live: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[Came[T]]:
    """Packets as they come.

    To learn a live stream's format the library reads some seconds of it; these come out at once
    when reading begins and are old. The first packet that had to be waited for ends that backlog.
    """
    began_s = asked_s = clock()
    fresh = not live
    for packet in packets:
        came_s = clock()
        fresh = fresh or came_s - asked_s > WAITED_S or came_s - began_s > BACKLOG_S
        yield Came(packet, asked_s, came_s, fresh)
        asked_s = clock()


class _Reading:
    """Which of an address's packets are decoded, and which pictures converted."""

    def __init__(self, ask: Ask, watch: Watch, how: How) -> None:
        self._ask, self._watch, self._how = ask, watch, how
        self._pace, self._rhythm, self._delay = Pace(), Rhythm(), Delay(ask.max_age_s)
        self._decoder, self._scaler, self._told = Decoder(), Scaler(ask.size), Told(watch)
        self._damage = Damage(lossy=how.live and ask.transport == "udp")
        self._clock: Clock = LiveClock() if how.live else PlayedClock()
        self._decoding: Decoding = "all" if ask.decode == "auto" else ask.decode
        self._rate = watch.rate
        """What is wanted, or next to it: see `Rhythm.in_step`."""
        self.has_packets = False
        """The last round was not empty."""

    @property
    def ahead_s(self) -> float:
        """How much too early the last packet was read."""
        return max(0.0, self._clock.captured_s(None) - time.monotonic())

    def frames(self, container: InputContainer) -> Iterator[Frame]:
        """One round; what was learnt of the stream holds in the next, too."""
        self._begin(container)
        for came in arriving(container.demux(video=0), live=self._how.live):
            if self._watch.stopped:
                return
            yield from self._taken(came)

    def _begin(self, container: InputContainer) -> None:
        video = container.streams.video[0]
        unstamped = container.format.flags & NO_TIMESTAMPS  # they would be made up
        self._base_s = 0.0 if unstamped else float(video.time_base or 0)
        self._clock.begin(picture_s=1 / float(video.average_rate or FPS))
        self._decoder.begin(video)
        self._resting = False  # the packets up to the next key frame are given up
        self._held: list[tuple[Came[VideoPacket], float]] = []
        self.has_packets = False
        self._told.begin(video)
        self._told.tell(self._rhythm, self._decoding, time.monotonic())

    def _taken(self, came: Came[VideoPacket]) -> Iterator[Frame]:
        """What a packet gives: nothing, or now and then a frame."""
        packet, at_s = came.packet, came.came_s
        if packet.size:  # an empty one at the end only asks for what is left
            self._watch.packet()
            self.has_packets = True
            at_s = self._noted(came)
        if self._is_for_decoding(came, at_s):
            self._hold(came, at_s)
        if self._held and not self._may_wait(came, at_s):
            yield from self._decoded()

    def _hold(self, came: Came[VideoPacket], at_s: float) -> None:
        """Nobody asked for what is held when a key frame comes, and nothing follows from it."""
        if self._held and self._leaps and (came.packet.is_keyframe or not came.packet.size):
            self._forget()
        if len(self._held) == HELD:
            self._held.clear()
            self._resting = True
        else:
            self._held.append((came, at_s))

    def _may_wait(self, came: Came[VideoPacket], at_s: float) -> bool:
        """Not what is due, and nothing where pictures come later than their packets anyway."""
        key, rest_s = came.packet.is_keyframe, self._rhythm.rest_s if self._leaps else None
        keys_do = rest_s is not None and self._decoding == "keyframes"
        due = came.fresh and self._pace.due(at_s, self._rate) and (key or not keys_do)
        if due or self._decoder.reorders or not came.packet.size:
            return False
        idle = rest_s is not None and self._pace.until_s(at_s, self._rate) > rest_s
        return len(self._held) < BURST or keys_do or idle

    @property
    def _leaps(self) -> bool:
        """Decoding may begin at any key frame, so what nobody needs before one is not decoded."""
        chained = self._decoder.needs_all or self._decoder.reorders
        return self._ask.decode == "auto" and not chained

    @property
    def _alone(self) -> bool:
        """Key frames alone are decoded, whatever comes between them."""
        return self._decoding == "keyframes" and not self._leaps

    def _decoded(self) -> Iterator[Frame]:
        """What the packets held back give; played streams then wait for the last one's time."""
        held, self._held = self._held, []
        for came, at_s in held:
            yield from self._pictured(came.packet, at_s, fresh=came.fresh)
            if self._resting or self._watch.stopped:
                return
        self._watch.wait(max(0.0, held[-1][1] - time.monotonic()))

    def _noted(self, came: Came[VideoPacket]) -> float:
        """When the packet's picture was taken."""
        packet = came.packet
        stamp_s, key = self._stamp_s(packet.pts), packet.is_keyframe
        at_s = self._clock.note(stamp_s, asked_s=came.asked_s, came_s=came.came_s)
        if came.fresh or stamp_s is not None:
            coded_s = self._stamp_s(packet.dts)  # in order, where pictures are not
            self._rhythm.note(at_s if coded_s is None else coded_s, key=key)
        captured_s = self._clock.captured_s(stamp_s)
        in_step = self._rhythm.in_step(self._watch.rate)
        self._rate = in_step or self._watch.rate
        if key:
            self._decide()
            if in_step:
                self._pace.begin(captured_s, in_step)
        self._told.tell(self._rhythm, self._decoding, came.came_s)
        return captured_s

    def _stamp_s(self, stamp: int | None) -> float | None:
        return stamp * self._base_s if stamp is not None and self._base_s else None

    def _decide(self) -> None:
        """At each key frame, because decoding can change nowhere else."""
        wanted = self._rhythm.cheapest(self._ask.decode, self._watch.rate)
        if self._decoder.needs_all and self._ask.decode == "auto":
            wanted = "all"
        if wanted != self._decoding:
            self._decoding = wanted
            self._forget()

    def _forget(self) -> None:
        self._held.clear()
        self._decoder.forget()

    def _is_for_decoding(self, came: Came[VideoPacket], at_s: float) -> bool:
        """Not what is too late, what is not due among key frames, what follows from a gap."""
        key = came.packet.is_keyframe
        late = came.fresh and self._delay.is_long(came.came_s - at_s, came.came_s)
        if late and self._delay.is_not_ours:
            self._clock.restart()
            at_s, late = came.came_s, False
        due = came.fresh and self._pace.due(at_s, self._rate)
        if late and due:
            self._lose(at_s)
        if self._alone:
            return key and due and not late
        if self._resting and key and not late:
            self._forget()
            self._resting = False
        self._resting = self._resting or late
        return not self._resting

    def _pictured(self, packet: VideoPacket, at_s: float, *, fresh: bool) -> Iterator[Frame]:
        self._damage.note(packet, at_s, fps=self._rhythm.fps)
        pictures = self._decoder.pictures(packet, alone=self._alone)
        if self._decoder.broken:
            self._damage.begin(at_s)
        due = fresh and self._pace.due(at_s, self._rate)
        if due and self._decoder.broken and self._pace.blame(at_s, self._rate):
            self._watch.lost("corrupt")
        for picture in pictures:
            at_s = self._clock.captured_s(self._stamp_s(picture.pts))
            self._heal(picture, at_s)
            if not (fresh and self._pace.due(at_s, self._rate)):
                continue
            ahead_s = at_s - time.monotonic()
            if ahead_s > 0 and self._watch.wait(ahead_s):
                return
            if time.monotonic() - at_s > self._ask.max_age_s:
                self._lose(at_s)
                self._resting = True
                return
            self._pace.serve(at_s, self._rate)
            yield self._scaler.frame(picture, at_s, damaged=self._damage.lasts)

    def _heal(self, picture: VideoFrame, at_s: float) -> None:
        """Raises SourceError where nothing but a new connection would."""
        for_s = self._damage.lasts_for(at_s)
        if picture.key_frame or (self._decoder.needs_all and for_s > HEALS_S):
            self._damage.end()
        elif for_s > FOREVER_S:
            raise SourceError(f"no key frame for {FOREVER_S:g} s since a picture was damaged")

    def _lose(self, at_s: float) -> None:
        self._pace.serve(at_s, self._rate)
        self._watch.lost("late")
