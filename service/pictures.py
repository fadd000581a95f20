"""Posted pictures: what they are is read from their header before a pixel is decoded.

Shapes: H x W pixels, RGB.
"""

import asyncio
import io
import struct
import warnings
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from models.errors import PictureError

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_SIDE = 16_384
STRIP_PX = 256
MOST_SCANS = 100  # of a JPEG; ten are many. Each is another pass over all of the picture
RECEIVE_S = 30.0  # a slow body holds a place that others wait for
DAMAGE = (OSError, ValueError, SyntaxError, ArithmeticError, LookupError, TypeError, struct.error)

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked first, and says what it is


def decode(data: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """A picture as RGB, upright by its EXIF data; without alpha; an animation's first frame.

    Raises PictureError with a stable code: `picture_empty`, `picture_type`, `picture_pixels`,
    `picture_broken`.
    """
    if not data:
        raise PictureError("picture_empty", "the body is empty: post a picture", status=400)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        wanted = "JPEG, PNG or WebP"
        raise PictureError("picture_type", f"this is not a {wanted} picture", status=415) from error
    except DAMAGE as error:
        raise _broken(error) from error
    width, height = picture.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise PictureError(
            "picture_pixels",
            f"{width} x {height} pixels: at most {max_pixels} and {MAX_SIDE} a side are counted",
            status=413,
        )
    if picture.format == "JPEG" and data.count(b"\xff\xda") > MOST_SCANS:
        says = f"the picture has more than {MOST_SCANS} scans: save it as a plain JPEG"
        raise PictureError("picture_broken", says, status=422)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _rgb(picture)
    except DAMAGE as error:
        raise _broken(error) from error


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """In strips: a second copy of forty megapixels, in another mode, is 160 MB more."""
    ImageOps.exif_transpose(picture, in_place=True)
    deep = picture.mode.startswith("I")  # 16 bits a pixel: keep the upper eight
    width, height = picture.size
    rgb_HW3 = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, STRIP_PX):
        rows = slice(top, min(top + STRIP_PX, height))
        strip = picture.crop((0, rows.start, width, rows.stop))
        if deep:
            rgb_HW3[rows] = (np.asarray(strip) >> 8).clip(0, 255)[:, :, None]
        else:
            rgb_HW3[rows] = np.asarray(strip.convert("RGB"))
    return rgb_HW3


def _broken(error: Exception) -> PictureError:
    says = "the picture is damaged or cut short"
    return PictureError("picture_broken", says, status=422)


async def gather(
    body: AsyncIterator[bytes], *, declared: str | None, limit: int, within_s: float = RECEIVE_S
) -> bytes:
    """A request's body, given up as soon as it is, or says it will be, too large; or is too slow.

    Raises PictureError: `picture_bytes`, `picture_slow`.
    """
    if declared is not None and declared.isdecimal() and int(declared) > limit:
        raise too_large(limit)
    data = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for chunk in body:
                data += chunk
                if len(data) > limit:
                    raise too_large(limit)
    except TimeoutError as error:
        says = f"the body did not arrive within {within_s:g} s"
        raise PictureError("picture_slow", says, status=408) from error
    return bytes(data)


def too_large(limit: int) -> PictureError:
    return PictureError("picture_bytes", f"more than {limit} bytes: post a smaller one", status=413)
