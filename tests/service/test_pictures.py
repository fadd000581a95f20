"""Posted pictures: hostile ones cost nothing and are named by a stable code."""

import asyncio
import contextlib
import io
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.errors import PictureError
from service.pictures import decode, gather
from tests.fakes import encoded, solid

MAX_PIXELS = 40_000_000
PHOTO = np.random.default_rng(3).integers(0, 255, (12, 16, 3), np.uint8).repeat(4, 0).repeat(4, 1)
EXIF = Image.Exif()
EXIF[0x0112] = 6  # the camera was held on its side
EXIF[0x010F] = "a camera"
JPEG = encoded(PHOTO, "JPEG", exif=EXIF)
VALID = {
    "jpeg": JPEG,
    "progressive": encoded(PHOTO, "JPEG", progressive=True),
    "png": encoded(PHOTO, "PNG", exif=EXIF),
    "webp": encoded(PHOTO, "WEBP", exif=EXIF),
}
PEAK = """
import sys
from pathlib import Path
from service.pictures import decode

def peak_kb():  # not getrusage: it starts with the memory of who started us
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

data = sys.stdin.buffer.read()
before_kb = peak_kb()
decode(data, max_pixels=40_000_000)
print(peak_kb() - before_kb)
"""
CODES = {"picture_broken": 422, "picture_type": 415, "picture_pixels": 413, "picture_empty": 400}


def png(width: int, height: int, rows: int, *, rgb: bool = False) -> bytes:
    """A black PNG, of 1 bit or RGB, that claims a size and holds `rows` rows."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + (width * 3 if rgb else -(-width // 8)))
    data = b"".join(squeeze.compress(row) for _ in range(rows)) + squeeze.flush()
    kind = (8, 2) if rgb else (1, 0)
    header = struct.pack(">IIBBBBB", width, height, *kind, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def refused(data: bytes, *, max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(PictureError) as caught:
        decode(data, max_pixels=max_pixels)
    assert caught.value.status == CODES[caught.value.code]
    assert "\n" not in str(caught.value)
    return caught.value.code


def decoded_or_refused(data: bytes) -> None:
    with contextlib.suppress(PictureError):
        assert decode(data, max_pixels=MAX_PIXELS).dtype == np.uint8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_three_kinds_decode_to_the_same_picture(kind: str) -> None:
    image = decode(encoded(solid(90, (33, 57)), kind), max_pixels=MAX_PIXELS)
    assert image.shape == (33, 57, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image, 90, atol=2)


@pytest.mark.parametrize("kind", sorted(VALID))
@given(share=st.floats(0, 1))
def test_a_picture_cut_anywhere_is_refused_or_whole(kind: str, share: float) -> None:
    decoded_or_refused(VALID[kind][: int(share * len(VALID[kind]))])


@pytest.mark.parametrize("kind", sorted(VALID))
@given(data=st.data())
def test_a_picture_with_altered_bytes_is_refused_or_decoded(kind: str, data: st.DataObject) -> None:
    altered = bytearray(VALID[kind])
    places = st.integers(0, min(len(altered) - 1, 300)) | st.integers(0, len(altered) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        altered[data.draw(places)] = data.draw(st.integers(0, 255))
    decoded_or_refused(bytes(altered))


def test_a_jpeg_cut_in_its_middle_is_broken() -> None:
    assert refused(JPEG[: len(JPEG) // 2]) == "picture_broken"


@given(st.binary(min_size=1, max_size=200))
def test_garbage_is_of_no_type(data: bytes) -> None:
    assert refused(data) == "picture_type"


@pytest.mark.parametrize(
    "data",
    [
        encoded(PHOTO, "GIF"),
        encoded(PHOTO, "TIFF"),
        encoded(PHOTO, "BMP"),
        encoded(PHOTO, "PPM"),
        b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>',
        b"<!doctype html><title>no</title>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x89PNG",
        b"\xff\xd8",
    ],
)
def test_other_kinds_are_refused_by_what_they_are(data: bytes) -> None:
    assert refused(data) == "picture_type"


def test_a_jpeg_of_hundreds_of_scans_is_refused_before_they_are_decoded() -> None:
    plain = io.BytesIO()
    Image.new("RGB", (1000, 1000)).save(plain, "JPEG", progressive=True)
    data = plain.getvalue()
    assert decode(data, max_pixels=10**6).shape == (1000, 1000, 3)
    last = data.rindex(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 2000 + data[-2:]
    began_s = time.process_time()
    assert refused(bomb) == "picture_broken"
    assert time.process_time() - began_s < 0.5


def test_an_empty_body_is_told_apart() -> None:
    assert refused(b"") == "picture_empty"


def test_a_bomb_of_thirty_thousand_squared_is_refused_at_once_and_in_no_memory() -> None:
    bomb = png(30_000, 30_000, 30_000)
    assert len(bomb) < 150_000
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began_s = time.perf_counter()
    assert refused(bomb) == "picture_pixels"
    assert time.perf_counter() - began_s < 0.1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 50_000


@pytest.mark.parametrize("rgb", [True, False])
def test_twenty_megapixels_are_decoded_in_eight_bytes_each(rgb: bool) -> None:
    data = png(5000, 4000, 4000, rgb=rgb)
    ran = subprocess.run([sys.executable, "-c", PEAK], input=data, capture_output=True, check=True)
    assert int(ran.stdout) < 160_000


@pytest.mark.parametrize("size", [(100_000, 100_000), (2**31 - 1, 1), (16_385, 1), (8000, 8000)])
def test_a_claim_of_too_many_pixels_is_refused(size: tuple[int, int]) -> None:
    assert refused(png(*size, rows=0)) == "picture_pixels"


def test_a_webp_that_claims_the_largest_canvas_costs_no_memory() -> None:
    body = encoded(PHOTO, "WEBP", lossless=True)[12:]
    canvas = struct.pack("<I", 0) + (16_382).to_bytes(3, "little") * 2
    chunks = b"VP8X" + struct.pack("<I", len(canvas)) + canvas + body
    bomb = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused(bomb) in {"picture_pixels", "picture_broken", "picture_type"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 50_000


def test_the_limit_of_pixels_is_inclusive() -> None:
    data = encoded(solid(0, (10, 10)))
    assert decode(data, max_pixels=100).shape == (10, 10, 3)
    assert refused(data, max_pixels=99) == "picture_pixels"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_held_on_its_side_is_turned_upright(kind: str) -> None:
    image = solid(20, (64, 96))
    image[:, :48] = 220
    upright = decode(encoded(image, kind, exif=EXIF), max_pixels=MAX_PIXELS)
    assert upright.shape == (96, 64, 3)
    assert upright[:40].mean() > 210 > 30 > upright[56:].mean()


def test_a_tall_picture_keeps_all_its_rows() -> None:
    rows = np.arange(700, dtype=np.uint16) * 90
    image = np.repeat((rows >> 8).astype(np.uint8)[:, None, None], 3, axis=2).repeat(5, axis=1)
    np.testing.assert_array_equal(decode(encoded(image), max_pixels=MAX_PIXELS), image)
    deep = Image.fromarray(rows[:, None].repeat(5, axis=1))
    np.testing.assert_array_equal(decode(encoded(deep), max_pixels=MAX_PIXELS), image)


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "RGBA", "LA", "YCbCr", "I;16"])
def test_every_mode_becomes_eight_bit_rgb(mode: str) -> None:
    grey = Image.fromarray(solid(255, (20, 30)))
    if mode == "I;16":
        picture = Image.fromarray(np.full((20, 30), 0xFFFF, dtype=np.uint16))
    else:
        picture = grey.convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    image = decode(encoded(picture, kind), max_pixels=MAX_PIXELS)
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image, 255, atol=2)


def test_sixteen_bits_keep_their_order() -> None:
    ramp = np.linspace(0, 65_535, 256, dtype=np.uint16)[None].repeat(4, 0)
    image = decode(encoded(Image.fromarray(ramp)), max_pixels=MAX_PIXELS)
    np.testing.assert_allclose(image[0, :, 0], np.arange(256), atol=1)


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.fromarray(solid(grey, (8, 8))) for grey in (10, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_allclose(decode(buffer.getvalue(), max_pixels=MAX_PIXELS), 10, atol=2)


class Body:
    """A request's body that says how much of it was read."""

    def __init__(self, chunks: int, size: int) -> None:
        self._chunks, self._size = chunks, size
        self.read = 0

    async def stream(self) -> AsyncIterator[bytes]:
        for _ in range(self._chunks):
            self.read += self._size
            yield bytes(self._size)


@pytest.mark.anyio
async def test_a_body_within_the_limit_is_put_together() -> None:
    assert await gather(Body(4, 25).stream(), declared="100", limit=100) == bytes(100)


@pytest.mark.anyio
async def test_a_body_that_declares_too_much_is_not_read_at_all() -> None:
    body = Body(10, 25)
    with pytest.raises(PictureError) as caught:
        await gather(body.stream(), declared="101", limit=100)
    assert (caught.value.code, caught.value.status, body.read) == ("picture_bytes", 413, 0)


@pytest.mark.anyio
@pytest.mark.parametrize("declared", [None, "10", "-1", "no", "²"])
async def test_a_body_that_turns_out_too_long_is_read_no_further(declared: str | None) -> None:
    body = Body(1000, 25)
    with pytest.raises(PictureError, match="more than 100 bytes"):
        await gather(body.stream(), declared=declared, limit=100)
    assert body.read == 125


@pytest.mark.anyio
async def test_a_body_that_trickles_is_given_up() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    with pytest.raises(PictureError, match="did not arrive") as caught:
        await gather(trickle(), declared=None, limit=100, within_s=0.01)
    assert (caught.value.code, caught.value.status) == ("picture_slow", 408)
