"""CUDA through pycuda, behind an interface of plain numbers: addresses, streams and events.

A `Gpu` is one thread's hold of the device's primary context, the one that TensorRT and torch use
too (`pycuda.autoinit` would make a second). pycuda ties what it gives out to the context object of
its thread: what another thread frees, leaks. So all that a `Gpu` hands out is made, used and freed
by the thread that opened it.

The annotations are a contract: a test walks this file's syntax tree and holds what it asks of
pycuda to pycuda's sources.
"""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError

if TYPE_CHECKING:
    import pycuda.driver as drv

Bytes = NDArray[np.uint8]

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: never waits for the default stream
DRIVER = Path("/proc/driver/nvidia/version")


class OutOfMemory(EngineError):  # noqa: N818  # says what happened
    """The GPU has no memory left. Less at a time may still work."""


class Lost(EngineError):  # noqa: N818  # says what happened
    """A sticky error: the context answers every call with it until the process is restarted."""


def plain(error: EngineError) -> EngineError:
    """The same without its traceback: whoever keeps that keeps the contexts and plans of its frames
    alive, and frees them in a thread of its own, without CUDA."""
    return type(error)(str(error))


@dataclass(frozen=True)
class Card:
    """What a plan depends on, besides TensorRT."""

    name: str
    capability: str
    driver: str


class Gpu(Protocol):
    def alloc(self, size: int) -> int:
        """The address of so many bytes on the GPU. Raises OutOfMemory."""
        ...

    def free(self, address: int) -> None: ...

    def pinned(self, size: int) -> Bytes:
        """Page-locked bytes: only from and to those are copies asynchronous."""
        ...

    def unpin(self, array: Bytes) -> None: ...

    def stream(self) -> int: ...

    def event(self) -> int: ...

    def upload(self, address: int, source: Bytes, stream: int) -> None: ...

    def download(self, target: Bytes, address: int, stream: int) -> None: ...

    def record(self, event: int, stream: int) -> None: ...

    def wait(self, event: int) -> None:
        """Until everything that the stream held when the event was recorded is done."""
        ...

    def synchronize(self, stream: int) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None:
        """Frees what is left, and lets go of the context."""
        ...


class PyCuda:
    """Raises EngineError, or its two kinds above, and nothing of pycuda's own."""

    def __init__(self, device: int = 0) -> None:
        import pycuda.driver as drv

        self._drv = drv
        self._number = device
        self._memory: dict[int, drv.DeviceAllocation] = {}
        self._pinned: dict[int, Bytes] = {}
        self._streams: dict[int, drv.Stream] = {}
        self._events: dict[int, drv.Event] = {}

    def __enter__(self) -> Self:
        with self._errors():
            self._drv.init()
            device = self._drv.Device(self._number)
            self._context: drv.Context = device.retain_primary_context()
            self._context.push()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for address in list(self._memory):
                self.free(address)
            for array in list(self._pinned.values()):
                self.unpin(array)
            self._streams.clear()
            self._events.clear()
        finally:
            with suppress(self._drv.Error):  # a lost context cannot be put away
                self._drv.Context.pop()
                self._context.detach()

    def alloc(self, size: int) -> int:
        with self._errors():
            memory: drv.DeviceAllocation = self._drv.mem_alloc(size)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        with self._errors():
            self._memory.pop(address).free()

    def pinned(self, size: int) -> Bytes:
        with self._errors():
            array: Bytes = self._drv.pagelocked_empty(shape=size, dtype=np.uint8)
        self._pinned[array.ctypes.data] = array
        return array

    def unpin(self, array: Bytes) -> None:
        owner: drv.PagelockedHostAllocation = self._pinned.pop(array.ctypes.data).base
        with self._errors():
            owner.free()

    def stream(self) -> int:
        with self._errors():
            stream = self._drv.Stream(flags=NON_BLOCKING)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def event(self) -> int:
        with self._errors():
            blocking = self._drv.event_flags.BLOCKING_SYNC  # who waits takes no processor time
            event = self._drv.Event(flags=blocking)
        number = len(self._events) + 1
        self._events[number] = event
        return number

    def upload(self, address: int, source: Bytes, stream: int) -> None:
        with self._errors():
            self._drv.memcpy_htod_async(dest=address, src=source, stream=self._streams[stream])

    def download(self, target: Bytes, address: int, stream: int) -> None:
        with self._errors():
            self._drv.memcpy_dtoh_async(dest=target, src=address, stream=self._streams[stream])

    def record(self, event: int, stream: int) -> None:
        with self._errors():
            self._events[event].record(stream=self._streams[stream])

    def wait(self, event: int) -> None:
        with self._errors():
            self._events[event].synchronize()

    def synchronize(self, stream: int) -> None:
        with self._errors():
            self._streams[stream].synchronize()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._drv.MemoryError as error:
            raise OutOfMemory(f"GPU {self._number} has no memory left ({error})") from error
        except self._drv.Error as error:
            if self._answers():
                raise EngineError(f"CUDA refused a call: {error}") from error
            raise Lost(f"GPU {self._number} is lost ({error}): restart the process") from error

    def _answers(self) -> bool:
        """After a sticky error no call succeeds; after a wrong one the next does."""
        try:
            self._drv.Context.synchronize()
        except self._drv.Error:
            return False
        return True


def no_gpu(device: int = 0) -> str | None:
    """Why CUDA cannot be used here, or None where it can."""
    if importlib.util.find_spec("pycuda") is None:
        return "the package pycuda is not installed (pip install 'throng[tensorrt]')"
    try:
        import pycuda.driver as drv
    except ImportError as error:
        return f"pycuda needs an NVIDIA GPU's driver ({error})"
    try:
        drv.init()
        count = drv.Device.count()
    except drv.Error as error:
        return f"it needs an NVIDIA GPU, and CUDA finds none ({error})"
    return None if device < count else f"it needs an NVIDIA GPU {device}, and there are {count}"


def card(device: int = 0) -> Card:
    """Raises EngineError where the device does not answer."""
    import pycuda.driver as drv

    try:
        drv.init()
        one = drv.Device(device)
        major, minor = one.compute_capability()
        return Card(one.name(), f"{major}.{minor}", driver(drv.get_driver_version()))
    except drv.Error as error:
        raise EngineError(f"GPU {device} does not answer: {error}") from error


def driver(level: int, file: Path = DRIVER) -> str:
    """The driver's own version where it tells it: many are of one CUDA level."""
    try:
        text = file.read_text("utf-8", errors="replace")
    except OSError:
        text = ""
    version = re.search(r"Kernel Module\b.*?\s(\d+(?:\.\d+)+)", text)
    return f"{version[1]} (CUDA {level})" if version else f"CUDA {level}"
