"""Crop, scale, flip, recolour and corrupt: picture and head points together.

Whatever resizes a picture also softens it, and a net that never saw a picture as its camera made it
counts such ones wrongly: `native` crops are not resized. Shapes: H x W pixels, P head points.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from distill.corruptions import LEARNED, WORST, jpeg
from distill.data import Image, Points

HARSHEST = 0.8 * WORST  # where heads can still be told


@dataclass(frozen=True)
class Augmentation:
    """Square crops of `crop_px`; the picture's scale is drawn log-uniformly from `scale`.

    The other numbers are shares of crops: `native` keep the picture's scale and its pixels, `blur`
    are out of focus, `harsh` are taken in bad light, in haze or by a bad camera
    (`distill.corruptions`), `jpeg` are compressed once more, `mixed` have boxes of another crop of
    the batch.
    """

    crop_px: int = 256
    scale: tuple[float, float] = (0.6, 1.6)
    flip: float = 0.5
    grey: float = 0.15
    colour: float = 0.7
    native: float = 0.0
    blur: float = 0.0
    jpeg: float = 0.0
    mixed: float = 0.0
    harsh: float = 0.0

    def __call__(
        self, image_HW3: Image, points_P2: Points, rng: np.random.Generator
    ) -> tuple[Image, Points]:
        """One crop and the heads inside it, in the crop's pixels."""
        image, points_P2 = self._crop(image_HW3, points_P2, rng)
        if rng.random() < self.flip:
            image = image[:, ::-1]
            mirrored_P2 = np.stack([self.crop_px - points_P2[:, 0], points_P2[:, 1]], axis=1)
            points_P2 = np.asarray(mirrored_P2, np.float32)
        if rng.random() < self.grey:
            grey_HW = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
            image = np.repeat(grey_HW[:, :, None], 3, axis=2)
        if rng.random() < self.colour:
            image = _recolour(image, rng)
        if self.blur and rng.random() < self.blur:
            image = _blur(image, rng)
        if self.harsh and rng.random() < self.harsh:
            corrupt = LEARNED[rng.integers(len(LEARNED))]
            image = corrupt(image, rng.uniform(0, HARSHEST), rng)
        if self.jpeg and rng.random() < self.jpeg:
            image = jpeg(image, int(rng.integers(30, 96)))
        return np.ascontiguousarray(image), points_P2

    def _crop(
        self, image_HW3: Image, points_P2: Points, rng: np.random.Generator
    ) -> tuple[Image, Points]:
        """Only the window is resized: averaging down, linear up. Small pictures are enlarged."""
        height, width = image_HW3.shape[:2]
        scale = float(np.exp(rng.uniform(*np.log(self.scale))))
        if self.native and rng.random() < self.native:
            scale = 1.0
        side = min(round(self.crop_px / scale), height, width)
        left, top = rng.integers(0, width - side + 1), rng.integers(0, height - side + 1)
        window = image_HW3[top : top + side, left : left + side]
        how = cv2.INTER_AREA if side > self.crop_px else cv2.INTER_LINEAR
        resized = cv2.resize(window, (self.crop_px, self.crop_px), interpolation=how)
        scaled_P2 = (points_P2 - np.array([left, top], np.float32)) * np.float32(
            self.crop_px / side
        )
        crop, moved_P2 = np.asarray(resized, np.uint8), np.asarray(scaled_P2, np.float32)
        inside_P = ((moved_P2 >= 0) & (moved_P2 < self.crop_px)).all(axis=1)
        return crop, moved_P2[inside_P]


AS_SEEN = Augmentation(native=0.35, blur=0.15, jpeg=0.25)
"""For nets that will count pictures as cameras make them."""

MIXED = replace(AS_SEEN, scale=(0.45, 2.0), mixed=0.5)
"""For nets that know their training pictures too well: crops that no picture holds."""

HARSH = replace(AS_SEEN, harsh=0.4)
"""For nets that will count at night, in haze and by bad cameras."""


def _recolour(image_HW3: Image, rng: np.random.Generator) -> Image:
    """Gamma, contrast, brightness and a gain a channel, as one look-up table."""
    level = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(-0.4, 0.4))
    level = (level - 0.5) * rng.uniform(0.75, 1.25) + 0.5 + rng.uniform(-0.12, 0.12)
    table = np.clip(level * rng.uniform(0.9, 1.1, size=3) * 255, 0, 255).astype(np.uint8)
    return cv2.LUT(image_HW3, table[None])  # type: ignore[return-value]


def _blur(image_HW3: Image, rng: np.random.Generator) -> Image:
    """A lens out of focus by up to a pixel and a half."""
    return cv2.GaussianBlur(image_HW3, (0, 0), sigmaX=rng.uniform(0.3, 1.5))  # type: ignore[return-value]
