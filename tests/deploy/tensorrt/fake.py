"""A fake GPU, and the world that it and the fake TensorRT live in."""

import ctypes
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from deploy.engines.tensorrt.cuda import Bytes, Lost, OutOfMemory

STRIDE = 8  # of the fake net


@dataclass
class World:
    """What the fakes do next, and what was seen of our code."""

    version: str = "11.4.0"
    no: set[str] = field(default_factory=set)  # calls that answer False or None, for ever
    once: set[str] = field(default_factory=set)  # the same, once
    raises: set[str] = field(default_factory=set)  # calls that raise RuntimeError
    report: tuple[str, str] | None = None  # an error code and text for the recorder, with a "no"
    room: int | None = None  # bytes on the GPU
    sticky: bool = False
    steps: int = 3
    built: int = 0
    most_contexts: int | None = None  # that the GPU has room for
    contexts: int = 0  # alive, as are:
    engines: int = 0
    builders: int = 0
    orphans: int = 0  # those of them that outlived a last hold of the GPU
    alive: dict[int, Any] = field(default_factory=dict)  # memory by address
    opened: int = 0
    ran: list[tuple[int, ...]] = field(default_factory=list)  # shapes that were executed
    queued: dict[int, deque[Callable[[], None]]] = field(default_factory=dict)  # by stream
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def end(self) -> None:
        """The last hold of the GPU was let go: its context is gone, and all that lived in it."""
        self.orphans += self.contexts + self.engines + self.builders + len(self.alive)

    def refuses(self, call: str) -> bool:
        if call in self.raises:
            raise RuntimeError(f"{call} is not possible")
        refused = call in self.no or call in self.once
        self.once.discard(call)
        return refused


class FakeGpu:
    """`cuda.Gpu` in this process's own memory. As lazy as a GPU may be: what is put on a stream is
    done when somebody waits for it, and not a moment earlier.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._events: dict[int, int] = {}  # recorded and not reached: their streams

    def __enter__(self) -> Self:
        self.world.opened += 1
        self._mine: set[int] = set()
        self._streams: list[int] = []
        return self

    def __exit__(self, *_: object) -> None:
        self.world.opened -= 1
        for address in self._mine:
            del self.world.alive[address]
        for stream in self._streams:  # what was queued there, and all that it held, is forgotten
            del self.world.queued[stream]
        if self.world.opened == 0:
            self.world.end()

    def alloc(self, size: int) -> int:
        self._check()
        used = sum(len(one) for one in self.world.alive.values())
        if self.world.room is not None and used + size > self.world.room:
            raise OutOfMemory("GPU 0 has no memory left (fake)")
        buffer = (ctypes.c_uint8 * size)()
        address = ctypes.addressof(buffer)
        self.world.alive[address] = buffer
        self._mine.add(address)
        return address

    def free(self, address: int) -> None:
        del self.world.alive[address]
        self._mine.remove(address)

    def pinned(self, size: int) -> Bytes:
        self._check()
        return np.empty(size, np.uint8)

    def unpin(self, array: Bytes) -> None:
        array[:] = 0xAB  # whoever still reads it will notice

    def stream(self) -> int:
        number = next(self.world.numbers)
        self.world.queued[number] = deque()
        self._streams.append(number)
        return number

    def event(self) -> int:
        return next(self.world.numbers)

    def upload(self, address: int, source: Bytes, stream: int) -> None:
        self._check()
        self._copy(stream, address, source.ctypes.data, source.nbytes, on_gpu=address)

    def download(self, target: Bytes, address: int, stream: int) -> None:
        self._check()
        self._copy(stream, target.ctypes.data, address, target.nbytes, on_gpu=address)

    def _copy(self, stream: int, to: int, source: int, size: int, *, on_gpu: int) -> None:
        def copy() -> None:
            assert on_gpu in self._mine
            assert len(self.world.alive[on_gpu]) >= size
            ctypes.memmove(to, source, size)

        self.world.queued[stream].append(copy)

    def record(self, event: int, stream: int) -> None:
        self._check()

        def mark() -> None:
            del self._events[event]

        self._events[event] = stream
        self.world.queued[stream].append(mark)

    def wait(self, event: int) -> None:
        self._check()
        if event in self._events:
            queued = self.world.queued[self._events[event]]
            while event in self._events:
                queued.popleft()()

    def synchronize(self, stream: int) -> None:
        self._check()
        while self.world.queued[stream]:
            self.world.queued[stream].popleft()()

    def _check(self) -> None:
        if self.world.sticky:
            raise Lost("GPU 0 is lost (fake): restart the process")


def expected(frames_NHW3: Any) -> Any:
    """What the fake net answers."""
    number, height, width, _ = frames_NHW3.shape
    size = (number, height // STRIDE, STRIDE, width // STRIDE, STRIDE)
    return frames_NHW3[..., 0].reshape(size).astype(np.float32).mean((2, 4))
