"""One camera's frames from a reader process to the service, through memory that both have mapped.

The memory has no name: it is a file descriptor, sent to the reader, and is gone with the last
process that holds it. The writer never waits: it fills two buffers in turn, numbers what it writes,
and who reads a buffer too late, by two frames, finds another number in it.
"""

import mmap
import os
import time

import numpy as np
from numpy.typing import NDArray

BUFFERS = 2
HEAD_BYTES = 4096
PACKET, ALIVE = 0, 1  # seconds of the monotonic clock, which all processes share

Image = NDArray[np.uint8]


class Slot:
    """Buffers for frames of up to `largest` pixels, and two times that need no message."""

    def __init__(self, fd: int, largest: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, _bytes(largest))
        self._times = np.frombuffer(self._memory, np.float64, 2)
        self._numbers = np.frombuffer(self._memory, np.int64, BUFFERS, offset=64)
        self._pixels = np.frombuffer(self._memory, np.uint8, offset=HEAD_BYTES)
        self._largest = largest

    @classmethod
    def create(cls, largest: int) -> "Slot":
        """Memory of its own. `largest`: width times height of the largest frame.

        Raises OSError where the system has none left.
        """
        fd = os.memfd_create("throng-frames", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, _bytes(largest))
            slot = cls(fd, largest)
        except OSError:
            os.close(fd)
            raise
        slot.packet()
        return slot

    def close(self) -> None:
        """Give `fd` back, once it was sent; the mapping stays until nobody holds the slot any more
        (it has a descriptor of its own).
        """
        os.close(self.fd)

    def packet(self) -> None:
        """Something came from the camera."""
        self._times[:] = time.monotonic()

    def alive(self) -> None:
        """Nothing came, and nothing was awaited: the thread is well."""
        self._times[ALIVE] = time.monotonic()

    @property
    def packet_s(self) -> float:
        return float(self._times[PACKET])

    @property
    def alive_s(self) -> float:
        return float(self._times[ALIVE])

    def write(self, image_HW3: Image, number: int) -> None:
        """Put frame `number` (1, 2, ...) in its buffer. Raises ValueError where it is too large."""
        place = number % BUFFERS
        room = self._buffer(place)
        if image_HW3.size > room.size:
            raise ValueError(f"a frame of {image_HW3.shape} is larger than its slot")
        self._numbers[place] = 0
        np.copyto(room[: image_HW3.size].reshape(image_HW3.shape), image_HW3)
        self._numbers[place] = number

    def read(self, number: int, shape_hw: tuple[int, int]) -> Image | None:
        """A copy of frame `number`; None where a later one is in its place already."""
        height, width = shape_hw
        place = number % BUFFERS
        if self._numbers[place] != number:
            return None
        image_HW3 = self._buffer(place)[: height * width * 3].copy().reshape(height, width, 3)
        return image_HW3 if self._numbers[place] == number else None

    def _buffer(self, place: int) -> Image:
        size = self._largest * 3
        return self._pixels[place * size : (place + 1) * size]


def _bytes(largest: int) -> int:
    return HEAD_BYTES + BUFFERS * largest * 3
