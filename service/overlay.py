"""Density over a picture, as people look at it. Shapes: H x W pixels, RGB; h x w cells."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from models.density import Map

Image = NDArray[np.uint8]
Preview = Literal["none", "blur", "clear"]

FULL = 0.25  # people in a cell of 8 x 8 pixels that are drawn in the strongest colour
BLUR = 24  # a blurred picture is averaged over blocks of so many pixels, and of
BLUR_SHARE = 1 / 32  # at least this share of its width: people grow with the picture


def overlay(image_HW3: Image, density_hw: Map, *, preview: Preview, stride: int) -> Image:
    """The picture as its privacy setting allows, the density on top; empty places stay clear."""
    height, width = image_HW3.shape[:2]
    under = ground(image_HW3, preview)
    strength_hw = np.clip(density_hw / FULL, 0, 1) ** 0.5
    whole = (density_hw.shape[1] * stride, density_hw.shape[0] * stride)
    strength_HW = cv2.resize(strength_hw, whole, interpolation=cv2.INTER_LINEAR)[:height, :width]
    strength_HW = cv2.GaussianBlur(strength_HW, (0, 0), stride * 0.6)
    colours = cv2.applyColorMap((strength_HW * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    alpha_HW1 = np.clip(strength_HW * 1.4, 0, 0.62)[:, :, None]
    mixed = under * (1 - alpha_HW1) + colours[:, :, ::-1] * alpha_HW1
    return np.asarray(mixed, dtype=np.uint8)


def encode(image_HW3: Image, kind: Literal["png", "jpeg"]) -> bytes:
    ending, options = {
        "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 4]),
        "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 80]),
    }[kind]
    _, data = cv2.imencode(ending, image_HW3[:, :, ::-1], options)
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
