"""From a decoded picture to a frame: into the camera's box, then into RGB."""

import time
from datetime import timedelta

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from models.geometry import Letterbox
from service.ingest import Frame, now


class Scaler:
    """Into the camera's box at once; a change of resolution is simply the next size."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._width, self._height = size
        self._reformatter, self._colours = VideoReformatter(), VideoReformatter()

    def frame(self, picture: VideoFrame, captured_s: float, *, damaged: bool) -> Frame:
        captured_at = now() - timedelta(seconds=time.monotonic() - captured_s)
        size, box = (picture.height, picture.width), (self._height, self._width)
        height, width = Letterbox.fit(size, box=box, multiple=1).scaled
        small = self._reformatter.reformat(
            picture, width=width, height=height, format=_while_scaling(picture.format.name),
            interpolation=Interpolation.AREA, threads=1,
        )  # fmt: skip
        small = self._colours.reformat(small, format="rgb24", threads=1)
        image_HW3 = np.asarray(small.to_ndarray(), dtype=np.uint8)  # a view: nothing is copied
        return Frame(image_HW3, captured_s, captured_at, damaged=damaged)


def _while_scaling(pixels: str) -> str:
    """What almost all cameras send is scaled first: half the cost, colours within two levels."""
    return pixels if pixels in ("yuv420p", "yuvj420p") else "rgb24"
