"""The clips that cameras of these tests send. Equal pictures are equal again when decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from models.scene import Plaza

FPS = 15
SIZE_HW = (288, 512)
CODECS = {".mp4": "libx264", ".hevc": "libx265", ".mjpeg": "mjpeg", ".h264": "libx264"}
OPTIONS = {
    "libx264": {"preset": "ultrafast", "tune": "zerolatency", "qp": "26", "g": "15"},
    "libx265": {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x265-params": "qp=26:keyint=15:bframes=0:log-level=none",
    },
    "mjpeg": {"qmin": "3", "qmax": "3"},
}

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Clips:
    """Two seconds each, or one picture again and again for a second."""

    plaza: Path
    large: Path  # the same plaza with twice as many pixels a side
    frozen: Path
    black: Path
    hevc: Path
    mjpeg: Path
    raw: Path  # H.264 without a container: no time stamps


def drawn(folder: Path) -> Clips:
    small, large = _plaza(SIZE_HW), _plaza((SIZE_HW[0] * 2, SIZE_HW[1] * 2))
    black = np.zeros_like(small[0])
    return Clips(
        plaza=encoded(folder / "plaza.mp4", small),
        large=encoded(folder / "large.mp4", large),
        frozen=encoded(folder / "frozen.mp4", [small[0]] * FPS),
        black=encoded(folder / "black.mp4", [black] * FPS),
        hevc=encoded(folder / "plaza.hevc", small),
        mjpeg=encoded(folder / "plaza.mjpeg", small),
        raw=encoded(folder / "plaza.h264", small),
    )


def _plaza(size_hw: tuple[int, int]) -> list[Image]:
    scene = Plaza(seed=2, size_hw=size_hw, people=40)
    return [scene.at(number / FPS).image_HW3 for number in range(2 * FPS)]


def encoded(path: Path, images: Sequence[Image]) -> Path:
    """Written in the codec that the ending of `path` stands for."""
    codec = CODECS[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=OPTIONS[codec])
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image_HW3 in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image_HW3, format="rgb24")))
        container.mux(stream.encode())
    return path
