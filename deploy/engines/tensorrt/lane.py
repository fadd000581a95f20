"""One execution context with its stream, events and buffers: everything one thread needs to count.

Up to `RING` batches are under way: while the GPU computes one, the next is copied into page-locked
memory. Copies and kernels of a lane share a stream, so buffers on the GPU need no ring.
Shapes: N frames, H x W pixels, h x w cells.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from deploy.engines import Frames, Maps
from deploy.engines.tensorrt import callbacks, calls
from deploy.engines.tensorrt.cuda import Bytes, Gpu, OutOfMemory
from models.errors import EngineError

RING = 2

NHW = tuple[int, int, int]


class PlanRefused(EngineError):  # noqa: N818  # says what happened
    """A plan of another TensorRT or GPU, or of something that is not a counting net."""


class Poisoned(EngineError):  # noqa: N818  # says what happened
    """The context failed on a batch: make a new one before the next."""


class NoContext(EngineError):  # noqa: N818  # says what happened
    """There was no room for one: nothing can be run any more."""


class Choice(NamedTuple):
    """The profile to run in, and how many frames at once."""

    profile: int
    number: int


@dataclass(frozen=True)
class Plan:
    """A plan that is loaded: shared by the lanes, freed after them."""

    engine: Any
    frames: str
    density: str
    ranges: Sequence[tuple[NHW, NHW]]  # least and largest, a profile each

    @classmethod
    def load(cls, content: bytes) -> "Plan":
        """Raises PlanRefused where TensorRT will not have it."""
        logger = callbacks.logger()
        with callbacks.starting():
            runtime = calls.runtime(logger)
        engine = calls.deserialize(runtime, content)
        if engine is None:
            raise PlanRefused(f"TensorRT refused its plan: {logger.tail()}")
        try:
            return cls._read(engine)
        except RuntimeError as error:
            raise PlanRefused(f"TensorRT cannot describe its plan: {error}") from error

    @classmethod
    def _read(cls, engine: Any) -> "Plan":
        names = [calls.tensor_name(engine, i) for i in range(calls.tensor_count(engine))]
        inputs = [name for name in names if calls.is_input(engine, name)]
        outputs = [name for name in names if name not in inputs]
        if len(inputs) != 1 or len(outputs) != 1:
            raise PlanRefused(f"the plan has tensors {', '.join(names)}: wanted one in, one out")
        (frames,), (density,) = inputs, outputs
        if not (calls.is_uint8(engine, frames) and calls.is_float32(engine, density)):
            raise PlanRefused("the plan does not take uint8 frames and give float32 maps")
        ranges = []
        for index in range(calls.profile_count(engine)):
            low, _, high = (tuple(s) for s in calls.profile_range(engine, frames, index))
            ranges.append((low[:3], high[:3]))
        return cls(engine, frames, density, ranges)

    def choose(self, number: int, height: int, width: int) -> Choice:
        """The profile that needs the fewest runs for so many frames.

        Raises EngineError, naming what the plan takes, for a size that no profile holds.
        """
        fitting = [
            Choice(index, min(number, high[0]))
            for index, (low, high) in enumerate(self.ranges)
            if low[1] <= height <= high[1] and low[2] <= width <= high[2]
        ]
        if not fitting:
            takes = " or ".join(f"{high[1]} x {high[2]}" for _, high in self.ranges)
            raise EngineError(
                f"frames are {height} x {width}, this plan takes up to {takes}: make them smaller"
            )
        return max(fitting, key=lambda choice: choice.number)


@dataclass
class _Slot:
    """Page-locked memory for one batch, and the event after its last copy."""

    event: int
    frames: Bytes | None = None
    density: Bytes | None = None
    shape_Nhw: tuple[int, ...] = ()


@dataclass
class _Device:
    """A buffer on the GPU that grows."""

    address: int = 0
    size: int = 0


class Lane:
    """Belongs to the thread that opened `gpu`. Errors: EngineError, or one of its kinds."""

    def __init__(self, gpu: Gpu, plan: Plan) -> None:
        self.plan = plan
        self._gpu = gpu
        self._frames, self._density = _Device(), _Device()
        self._stream = gpu.stream()
        self._free = deque(_Slot(gpu.event()) for _ in range(RING))
        self._busy: deque[_Slot] = deque()
        self._recorder = callbacks.recorder()
        self.renew()

    def renew(self) -> None:
        """A new context in place of the old. What was under way is forgotten."""
        self._gpu.synchronize(self._stream)
        self._context: Any = None  # frees the old one first: two may not fit
        self._free.extend(self._busy)
        self._busy.clear()
        self._profile = -1
        self._shape_NHW3: tuple[int, ...] = ()
        callbacks.logger().tail()
        self._context = calls.context(self.plan.engine)
        if self._context is None:
            raise OutOfMemory(f"no room on the GPU for a lane: {callbacks.logger().tail()}")
        self._recorder.clear()
        calls.record_context(self._context, self._recorder)

    def takes(self, shape_NHW3: tuple[int, ...]) -> bool:
        """Whether such a batch may start now; else finish another first."""
        return not self._busy or (bool(self._free) and shape_NHW3 == self._shape_NHW3)

    def start(self, frames_NHW3: Frames, profile: int) -> None:
        """Only where it `takes` the shape. Returns as soon as the work is queued on the GPU."""
        if frames_NHW3.shape != self._shape_NHW3:
            self._fit(frames_NHW3.shape, profile)
        slot = self._free[0]
        frames, density = self._host(slot, frames_NHW3.nbytes)
        np.copyto(frames.reshape(frames_NHW3.shape), frames_NHW3)
        self._gpu.upload(self._frames.address, frames, self._stream)
        if not calls.execute(self._context, self._stream):
            self._raise_recorded("TensorRT did not start a batch")
        self._gpu.download(density, self._density.address, self._stream)
        self._gpu.record(slot.event, self._stream)
        slot.shape_Nhw = self._out_Nhw
        self._busy.append(self._free.popleft())

    def finish(self) -> Maps:
        """Waits for the oldest batch under way, and gives its maps."""
        slot = self._busy[0]
        self._gpu.wait(slot.event)
        if self._recorder.num_errors():
            self._raise_recorded("TensorRT failed on a batch")
        self._free.append(self._busy.popleft())
        assert slot.density is not None  # start() made it
        size = int(np.prod(slot.shape_Nhw)) * 4
        maps: Maps = slot.density[:size].view(np.float32).reshape(slot.shape_Nhw).copy()
        return maps

    def close(self) -> None:
        """Lets go of context and plan, in that order; the buffers go with the `gpu`."""
        self._context = None
        self.plan = replace(self.plan, engine=None)

    def _fit(self, shape_NHW3: tuple[int, ...], profile: int) -> None:
        self._shape_NHW3 = ()  # until all of the below went well
        try:
            self._out_Nhw = self._set_shape(shape_NHW3, profile)
        except RuntimeError as error:  # the bindings raise where others would say False
            raise Poisoned(f"TensorRT cannot run frames of {shape_NHW3}: {error}") from error
        self._grow(self._frames, int(np.prod(shape_NHW3)))
        self._grow(self._density, int(np.prod(self._out_Nhw)) * 4)
        for name, buffer in ((self.plan.frames, self._frames), (self.plan.density, self._density)):
            if not calls.set_address(self._context, name, buffer.address):
                self._raise_recorded(f"TensorRT refused the address of {name}")
        self._shape_NHW3 = shape_NHW3

    def _set_shape(self, shape_NHW3: tuple[int, ...], profile: int) -> tuple[int, ...]:
        """The shape of the maps. Raises RuntimeError where the bindings do."""
        if profile != self._profile:
            if not calls.choose_profile(self._context, profile, self._stream):
                self._raise_recorded(f"TensorRT refused profile {profile}")
            self._gpu.synchronize(self._stream)
            self._profile = profile
        if not calls.set_input_shape(self._context, self.plan.frames, shape_NHW3):
            self._raise_recorded(f"TensorRT refused frames of {shape_NHW3}")
        if calls.unresolved(self._context):
            raise Poisoned(f"TensorRT lacks a shape for frames of {shape_NHW3}")
        out = tuple(calls.tensor_shape(self._context, self.plan.density))
        if len(out) != 3 or min(out) < 1 or out[0] != shape_NHW3[0]:
            raise Poisoned(f"TensorRT gives maps of {out} for frames of {shape_NHW3}")
        return out

    def _grow(self, buffer: _Device, size: int) -> None:
        """Nothing is under way: the old buffer is not in use."""
        if buffer.size < size:
            if buffer.size:
                buffer.size = 0
                self._gpu.free(buffer.address)
            buffer.address = self._gpu.alloc(size)
            buffer.size = size

    def _host(self, slot: _Slot, size: int) -> tuple[Bytes, Bytes]:
        out = int(np.prod(self._out_Nhw)) * 4
        slot.frames = self._pinned(slot.frames, size)
        slot.density = self._pinned(slot.density, out)
        return slot.frames[:size], slot.density[:out]

    def _pinned(self, old: Bytes | None, size: int) -> Bytes:
        if old is not None and old.size >= size:
            return old
        new = self._gpu.pinned(size)
        if old is not None:
            self._gpu.unpin(old)
        return new

    def _raise_recorded(self, what: str) -> NoReturn:
        """Raises OutOfMemory where that is why, Poisoned for all else."""
        found = self._recorder.take()
        no_memory, why = found if found else (False, callbacks.logger().tail())
        raise (OutOfMemory if no_memory else Poisoned)(f"{what}: {why}")
