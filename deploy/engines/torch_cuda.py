"""torch on an NVIDIA GPU: fp16, channels last, one CUDA graph a shape, batches of up to eight.

One worker thread owns the GPU's stream. Frames go up as uint8 from page-locked memory (a quarter of
the bytes of float32) and are normalised there. Out of memory, it forgets all graphs and runs the
batch in two halves, once. After any other error of CUDA the process can do nothing with the GPU.
"""

import ctypes
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from deploy.bundle import Bundle, InputRule
from deploy.engines import Backend, Engine, Frames, Maps, Precision, check_frames, chosen, missing
from models.errors import EngineError

log = logging.getLogger(__name__)

PRECISIONS: list[Precision] = ["fp32", "fp16"]
GRAPHS_KEPT = 8  # each holds its own buffers; the least recently used goes first
NO_MEMORY = 2  # cudaErrorMemoryAllocation: how page-locked memory says it
WARM_UP = 3  # calls in which cuDNN chooses its kernels: a graph records what was chosen

Shape = tuple[int, ...]


class Runner(Protocol):
    """Runs frames of one shape; fewer frames than it has room for are fine."""

    def run(self, frames_NHW3: Frames) -> Maps: ...


class Graphs:
    """Runners of the latest shapes. The number of frames is rounded up to a power of two, so that
    a camera more or less does not build another graph."""

    def __init__(self, build: Callable[[Shape], Runner], *, keep: int = GRAPHS_KEPT) -> None:
        self._build = build
        self._keep = keep
        self._runners: OrderedDict[Shape, Runner] = OrderedDict()

    def run(self, frames_NHW3: Frames) -> Maps:
        number, *size = frames_NHW3.shape
        shape = (1 << (number - 1).bit_length(), *size)
        if shape not in self._runners:
            while len(self._runners) >= self._keep:  # first: its memory may be needed
                self._runners.popitem(last=False)
            self._runners[shape] = self._build(shape)
        self._runners.move_to_end(shape)
        return self._runners[shape].run(frames_NHW3)

    def shapes(self) -> list[Shape]:
        """The least recently used first."""
        return list(self._runners)

    def clear(self) -> None:
        self._runners.clear()


class CudaGraph:
    """A recorded run of the net, and the buffers that it reads and writes."""

    def __init__(self, net: Any, shape: Shape, stream: Any) -> None:
        import torch

        self._stream = stream
        self._pinned_in = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
        self._graph = torch.cuda.CUDAGraph()
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
        with torch.inference_mode(), exact, torch.cuda.stream(stream):
            self._frames = torch.zeros(shape, dtype=torch.uint8, device=stream.device)
            for _ in range(WARM_UP):
                net(self._frames)
            stream.synchronize()
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._maps = net(self._frames)
        self._pinned_out = torch.empty(self._maps.shape, dtype=torch.float32, pin_memory=True)
        self._done = torch.cuda.Event(blocking=True)  # waiting for it takes no processor time

    def run(self, frames_NHW3: Frames) -> Maps:
        import torch

        number = len(frames_NHW3)
        self._pinned_in.numpy()[:number] = frames_NHW3
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            self._frames[:number].copy_(self._pinned_in[:number], non_blocking=True)
            self._graph.replay()
            self._pinned_out[:number].copy_(self._maps[:number], non_blocking=True)
            self._done.record(self._stream)
        self._done.synchronize()
        maps: Maps = self._pinned_out.numpy()[:number].copy()
        return maps


class TorchCudaEngine:
    name = "torch-cuda"
    batch = 8

    def __init__(
        self, build: Callable[[Shape], Runner], *, rule: InputRule, precision: str, lanes: int
    ) -> None:
        self.precision = precision
        self.lanes = lanes
        self.over: str | None = None  # why it answers no more
        self._rule = rule
        self._graphs = Graphs(build)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="torch-cuda")

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        return self._pool.submit(self._infer, frames_NHW3)

    def close(self) -> None:
        import torch

        self._pool.shutdown(wait=True)
        del self._graphs  # and the net, which they hold
        torch.cuda.empty_cache()

    def _infer(self, frames_NHW3: Frames) -> Maps:
        check_frames(frames_NHW3, self._rule)
        if self.over is not None:
            raise EngineError(self.over)
        try:
            return self._run(frames_NHW3)
        except RuntimeError as error:
            first = str(error).partition("\n")[0]
            why = f"torch failed on {frames_NHW3.shape}: {first}"
            if _sticks(error):
                self.over = why = f"{why}; this process can use the GPU no more: start it again"
            raise EngineError(why) from error

    def _run(self, frames_NHW3: Frames) -> Maps:
        try:
            return self._graphs.run(frames_NHW3)
        except RuntimeError as error:
            if not _no_memory(error):
                raise
        # Only out here are the buffers free that the error's traceback held.
        log.warning("no GPU memory for %s: trying it in halves", frames_NHW3.shape)
        self._graphs.clear()
        halves = np.array_split(frames_NHW3, min(2, len(frames_NHW3)))
        return np.concatenate([self._graphs.run(half) for half in halves])


def _no_memory(error: BaseException | None) -> bool:
    """The error or one that it covers: a recording that ends early raises another."""
    import torch

    if isinstance(error, torch.OutOfMemoryError) or getattr(error, "error_code", 0) == NO_MEMORY:
        return True
    return error is not None and _no_memory(error.__context__)


def _sticks(error: BaseException) -> bool:
    import torch

    return isinstance(error, torch.AcceleratorError) and not _no_memory(error)


class TorchCuda:
    def unavailable(self) -> str | None:
        """Without importing torch where that is pointless: it takes a second and 200 MB."""
        if reason := missing("torch", "safetensors", extra="train"):
            return reason
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return "needs an NVIDIA GPU and its driver: there is no libcuda.so.1"
        import torch

        if not torch.cuda.is_available():
            return "needs an NVIDIA GPU and a torch built for it: torch finds none"
        return None

    def precisions(self, bundle: Bundle) -> list[Precision]:
        return PRECISIONS.copy()

    def load(self, bundle: Bundle, *, precision: Precision, lanes: int | None = None) -> Engine:
        """Two lanes: while one batch is on the GPU, the next one is gathered."""
        import torch

        from deploy.engines import _torch

        exact = chosen(precision, PRECISIONS, bundle=bundle, engine=TorchCudaEngine.name)
        net = _torch.deployed(bundle, precision=exact, device="cuda")
        stream = torch.cuda.Stream()
        return TorchCudaEngine(
            lambda shape: CudaGraph(net, shape, stream),
            rule=bundle.manifest.input,
            precision=exact,
            lanes=lanes or 2,
        )


backend: Backend = TorchCuda()
