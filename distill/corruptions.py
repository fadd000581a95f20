"""What light, weather, lenses and sensors do to a picture: the heads stay where they are.

In the manner of ImageNet-C (Hendrycks and Dietterich, 2019), a severity of 0 does nothing and one
of 5 leaves little to count; the strengths are ours, for people of 10 to 100 pixels. Nets learn from
such crops (`distill.augment`), and `throng-distill corrupt` says what is left of a net's counts.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from distill.data import Image

Corruption = Callable[[Image, float, np.random.Generator], Image]
Levels = NDArray[np.floating[Any]]
HAZE_GREY: Final = 200.0
WITHOUT_COLOUR: Final = 0.3  # of noise: cameras often smooth its colours away
WORST: Final = 5.0


def noise(image_HW3: Image, severity: float, rng: np.random.Generator) -> Image:
    """A sensor at high gain: Gaussian, by six levels of 255 a severity."""
    return _noisy(image_HW3.astype(np.float32), 6 * severity, rng)


def night(image_HW3: Image, severity: float, rng: np.random.Generator) -> Image:
    """Too little light: a fifth of it is left at the worst, and a little noise."""
    return _noisy(image_HW3 * np.float32(1 - 0.16 * severity), 1.5 * severity, rng)


def haze(image_HW3: Image, severity: float, rng: np.random.Generator) -> Image:
    """Fog, or a dirty dome: three tenths of the contrast are left at the worst."""
    del rng
    veil = 0.14 * severity
    return cv2.addWeighted(image_HW3, 1 - veil, image_HW3, 0.0, HAZE_GREY * veil)  # type: ignore[return-value]


def motion(image_HW3: Image, severity: float, rng: np.random.Generator) -> Image:
    """A moving camera: a straight smear of up to eleven pixels, in any direction."""
    side = 2 * int(np.ceil(severity)) + 1
    steps = np.linspace(-severity, severity, 8 * side)
    angle = rng.uniform(0, np.pi)
    kernel = np.zeros((side, side), np.float32)
    across = np.rint(side // 2 + steps * np.cos(angle)).astype(int)
    down = np.rint(side // 2 + steps * np.sin(angle)).astype(int)
    np.add.at(kernel, (down, across), 1 / steps.size)
    return cv2.filter2D(image_HW3, -1, kernel, borderType=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]


def defocus(image_HW3: Image, severity: float, rng: np.random.Generator) -> Image:
    """A lens out of focus, by half a pixel a severity."""
    del rng
    if not severity:
        return image_HW3
    return cv2.GaussianBlur(image_HW3, (0, 0), sigmaX=0.5 * severity)  # type: ignore[return-value]


def glare(image_HW3: Image, severity: float, rng: np.random.Generator) -> Image:
    """Too much light: twice as much at the worst, clipped."""
    del rng
    return cv2.convertScaleAbs(image_HW3, alpha=1 + 0.2 * severity)  # type: ignore[return-value]


def infrared(image_HW3: Image, severity: float, rng: np.random.Generator) -> Image:
    """A camera's own lamp at night: no colour, raised shadows, noise."""
    grey_HW = cv2.cvtColor(image_HW3, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    lifted_HW = 255 * grey_HW ** (1 - 0.12 * severity)
    noisy_HW = lifted_HW + 2 * severity * rng.standard_normal(lifted_HW.shape, np.float32)
    return np.repeat(_eight_bits(noisy_HW)[:, :, None], 3, axis=2)


def compression(image_HW3: Image, severity: float, rng: np.random.Generator) -> Image:
    """JPEG of quality 60 down to 10."""
    del rng
    return jpeg(image_HW3, round(60 - 10 * severity))


def upscaled(image_HW3: Image, severity: float, rng: np.random.Generator) -> Image:
    """A small stream shown large: a third of the pixels a side at the worst."""
    del rng
    height, width = image_HW3.shape[:2]
    shrunk = 1 / (1 + 0.4 * severity)
    size = (max(1, round(width * shrunk)), max(1, round(height * shrunk)))
    small = cv2.resize(image_HW3, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


LEARNED: Final[tuple[Corruption, ...]] = (noise, night, haze, motion, infrared)
"""What harsh crops are made of."""

CORRUPTIONS: Final[Mapping[str, Corruption]] = MappingProxyType(
    {one.__name__: one for one in (*LEARNED, defocus, glare, compression, upscaled)}
)
"""By name; those after `LEARNED` ask what a net makes of faults that no harsh crop showed it."""


def jpeg(image_HW3: Image, quality: int) -> Image:
    """Written with that quality, and read again."""
    _, written = cv2.imencode(
        ".jpg", cv2.cvtColor(image_HW3, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return cv2.cvtColor(cv2.imdecode(written, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type,return-value]


def _noisy(levels_HW3: Levels, sigma: float, rng: np.random.Generator) -> Image:
    channels = 1 if rng.random() < WITHOUT_COLOUR else 3
    grain = rng.standard_normal((*levels_HW3.shape[:2], channels), np.float32)
    return _eight_bits(levels_HW3 + np.float32(sigma) * grain)


def _eight_bits(levels: Levels) -> Image:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
