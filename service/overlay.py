"""Density over a picture, as people look at it. Shapes: H x W pixels, RGB; h x w cells."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from models.density import Map

Image = NDArray[np.uint8]
Preview = Literal["none", "blur", "clear"]
Kind = Literal["png", "jpeg"]

FULL = 0.25  # people in a cell of 8 x 8 pixels that are drawn in the strongest colour
BLEND = 0.6  # cells over which neighbours are blended
LEVELS = np.arange(256, dtype=np.uint8)  # of strength: everything that depends on it is a table
TURBO = cv2.applyColorMap(LEVELS[:, None], cv2.COLORMAP_TURBO)[:, :, ::-1]  # RGB
OPAQUE = np.clip(LEVELS / np.float32(255) * 1.4, 0, 0.62).astype(np.float32)
BLUR = 24  # a blurred picture is averaged over blocks of so many pixels, and of
BLUR_SHARE = 1 / 32  # at least this share of its width: people grow with the picture


def overlay(image_HW3: Image, density_hw: Map, *, preview: Preview, stride: int) -> Image:
    """The picture as its privacy setting allows, the density on top; empty places stay clear."""
    height, width = image_HW3.shape[:2]
    strength_hw = cv2.GaussianBlur(np.sqrt(np.clip(density_hw / FULL, 0, 1)), (0, 0), BLEND)
    levels_hw = np.asarray(strength_hw * 255, np.uint8)
    whole = (density_hw.shape[1] * stride, density_hw.shape[0] * stride)
    levels_HW = cv2.resize(levels_hw, whole, interpolation=cv2.INTER_LINEAR)[:height, :width]
    mixed = cv2.blendLinear(
        ground(image_HW3, preview), cv2.applyColorMap(levels_HW, TURBO),
        cv2.LUT(levels_HW, 1 - OPAQUE), cv2.LUT(levels_HW, OPAQUE),
    )  # fmt: skip
    return np.asarray(mixed, dtype=np.uint8)


def encode(image_HW3: Image, kind: Kind) -> bytes:
    ending, options = {
        "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 4]),
        "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 80]),
    }[kind]
    _, data = cv2.imencode(ending, cv2.cvtColor(image_HW3, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def ground(image_HW3: Image, preview: Preview) -> Image:
    """The picture as its privacy setting allows."""
    if preview == "clear":
        return image_HW3
    if preview == "none":
        return np.full_like(image_HW3, 24)
    height, width = image_HW3.shape[:2]
    block = max(BLUR, round(width * BLUR_SHARE))
    small = cv2.resize(
        image_HW3,
        (max(1, width // block), max(1, height // block)),
        interpolation=cv2.INTER_AREA,
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]
