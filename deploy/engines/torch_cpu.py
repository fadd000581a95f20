"""torch on the CPU: the net itself, several times slower than the engines that run a graph.

Never chosen by `auto`. It is here as the plainest comparison, and for machines that train anyway.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from deploy.bundle import Bundle
from deploy.engines import Backend, Engine, Frames, Maps, Precision, check_frames, chosen, missing
from models.errors import EngineError
from models.machine import cores


class TorchCpuEngine:
    """`lanes` threads of our own, each of which computes alone."""

    name = "torch-cpu"
    batch = 1

    def __init__(self, bundle: Bundle, *, precision: Precision, lanes: int) -> None:
        from deploy.engines import _torch  # with the framework

        self.precision = chosen(precision, precisions_here(), bundle=bundle, engine=self.name)
        self.lanes = lanes
        self._rule = bundle.manifest.input
        self._net: Any = _torch.deployed(bundle, precision=self.precision, device="cpu")
        self._pool = ThreadPoolExecutor(
            lanes, thread_name_prefix="torch-cpu", initializer=_compute_alone
        )

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        return self._pool.submit(self._infer, frames_NHW3)

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        self._net = None

    def _infer(self, frames_NHW3: Frames) -> Maps:
        import torch

        check_frames(frames_NHW3, self._rule)
        try:
            with torch.inference_mode():
                maps: Maps = self._net(torch.from_numpy(np.ascontiguousarray(frames_NHW3))).numpy()
        except RuntimeError as error:
            first = str(error).partition("\n")[0]
            raise EngineError(f"torch failed on {frames_NHW3.shape}: {first}") from error
        return maps


class TorchCpu:
    def unavailable(self) -> str | None:
        return missing("torch", "safetensors", extra="train")

    def precisions(self, bundle: Bundle) -> list[Precision]:
        return precisions_here()

    def load(self, bundle: Bundle, *, precision: Precision, lanes: int | None = None) -> Engine:
        return TorchCpuEngine(bundle, precision=precision, lanes=lanes or cores())


def precisions_here() -> list[Precision]:
    """bf16 only where the processor multiplies in it: elsewhere it is emulated, and slower."""
    import torch

    has = torch.cpu.get_capabilities()
    return ["fp32", "bf16"] if has.get("avx512_bf16") or has.get("amx_bf16") else ["fp32"]


def _compute_alone() -> None:
    """The number of threads is a setting of the thread that calls."""
    import torch

    torch.set_num_threads(1)


backend: Backend = TorchCpu()
