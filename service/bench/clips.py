"""Clips to measure with: a drawn crowd with sensor noise, coded as cameras code, drawn once.

Shapes: H x W pixels, RGB.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError
from models.progress import tracked
from models.scene import Plaza

FPS = 25
KEYFRAME_EVERY = 50  # two seconds, as most cameras leave the factory
DRAWN_HIGH = 540  # larger pictures are drawn at this height and enlarged: drawing is slow
NOISE = 2.5  # standard deviation of a pixel, of 255
NOISES = 8


@dataclass(frozen=True)
class Clip:
    width: int
    height: int
    mbit_s: float
    seconds: float = 20.0

    @property
    def name(self) -> str:
        return f"{self.height}p-{self.mbit_s:g}mbit-{self.seconds:g}s.mp4"


SIZES = {
    "1080p": Clip(1920, 1080, mbit_s=4.0),
    "720p": Clip(1280, 720, mbit_s=2.0),
    "360p": Clip(640, 360, mbit_s=0.5),
}


def clip_of(size: str) -> Path:
    """The clip of a size, drawn if it is not there yet. Raises ConfigError for another size."""
    if size not in SIZES:
        raise ConfigError(f"--size {size!r}: wanted one of {', '.join(SIZES)}")
    return drawn(SIZES[size], _cache())


def drawn(clip: Clip, folder: Path) -> Path:
    """H.264 without B-frames, sound or scene cuts: what an IP camera sends."""
    path = folder / clip.name
    if path.is_file():
        return path
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _code(clip, part)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({type(error).__name__})") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "throng" / "clips"


def _code(clip: Clip, path: Path) -> None:
    total = round(clip.seconds * FPS)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=_options(clip))
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for image_HW3 in tracked(f"drawing {clip.name}", total=total)(_pictures(clip, total)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image_HW3, format="rgb24")))
        container.mux(stream.encode(None))


def _options(clip: Clip) -> dict[str, str]:
    rate = str(round(clip.mbit_s * 1e6))
    return {
        "preset": "veryfast",
        "bf": "0",
        "g": str(KEYFRAME_EVERY),
        "keyint_min": str(KEYFRAME_EVERY),
        "sc_threshold": "0",
        "b": rate,
        "maxrate": rate,
        "bufsize": str(2 * int(rate)),
    }


def _pictures(clip: Clip, total: int) -> Iterator[NDArray[np.uint8]]:
    high = min(DRAWN_HIGH, clip.height)
    plaza = Plaza(seed=3, size_hw=(high, high * clip.width // clip.height), people=90)
    rng = np.random.default_rng(0)
    shape = (clip.height, clip.width, 3)
    noises = [rng.normal(0, NOISE, shape).round().astype(np.int16) for _ in range(NOISES)]
    for i in range(total):
        small = plaza.at(i / FPS).image_HW3
        large = cv2.resize(small, (clip.width, clip.height), interpolation=cv2.INTER_CUBIC)
        shift = int(rng.integers(clip.width))  # few noises look like many
        noise = np.roll(noises[i % NOISES], shift, axis=1)
        yield np.asarray(cv2.add(large.astype(np.int16), noise).clip(0, 255), dtype=np.uint8)
