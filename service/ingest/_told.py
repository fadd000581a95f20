"""What a watch is told of a stream."""

import math

from av.video.stream import VideoStream

from service.ingest import Decoding, Stream, Watch
from service.ingest._pace import Rhythm

TELL_S = 1.0
NEWS = 0.05  # a measure that moved less, of what was told, is none


class Told:
    """Tells the watch what the stream is, whenever more is known or it has changed."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._said: tuple[object, ...] = ()
        self._measured: tuple[float | None, ...] = (None, None)
        self._at_s = -math.inf

    def begin(self, video: VideoStream) -> None:
        self._codec = video.codec_context

    def tell(self, rhythm: Rhythm, decoding: Decoding, at_s: float) -> None:
        width, height = self._codec.width, self._codec.height
        said, measured = (width, height, decoding), (rhythm.fps, rhythm.keyframe_s)
        news = said != self._said or any(map(_differ, measured, self._measured))
        if not news or not width or at_s - self._at_s < TELL_S:
            return
        self._said, self._measured, self._at_s = said, measured, at_s
        fps, keyframe_s = measured
        self._watch.stream(
            Stream(
                codec=self._codec.codec.canonical_name,
                width=width,
                height=height,
                fps=_plain(fps),
                keyframe_s=_plain(keyframe_s),
                decoding=decoding,
            )
        )


def _plain(measured: float | None) -> float | None:
    """Three digits, however slow the stream: nought pictures a second would look unknown."""
    return None if measured is None else float(f"{measured:.3g}")


def _differ(now: float | None, told: float | None) -> bool:
    return now is not None and (told is None or abs(now - told) > NEWS * told)
