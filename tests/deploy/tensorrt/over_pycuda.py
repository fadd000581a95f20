"""Run by test_cuda.py: our code over a real pycuda on a stub of the driver. JSON out."""

import ctypes
import gc
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from tests.deploy.tensorrt.fake import World, expected
from tests.deploy.tensorrt.fake_tensorrt import fake_tensorrt

PLAN = {"version": "11.4.0", "ranges": [[[1, 8, 8, 3], [8, 64, 64, 3], [8, 512, 512, 3]]]}


def work(driver: Any) -> dict[str, Any]:
    from deploy.engines.tensorrt import cuda

    card = cuda.card(0)
    said = {"no_gpu": [cuda.no_gpu(0), cuda.no_gpu(3)], "card": [card.name, card.capability]}
    return said | {
        "copies": alone(copies), "errors": alone(lambda: errors(driver)), "engine": engine(driver),
        "left": driver.fake_left(), "lost": driver.fake_lost(),
        "sticky": alone(lambda: sticky(driver)),
        "depth": driver.fake_depth(),
    }  # fmt: skip


def alone(do: Any) -> Any:
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(do()))
    thread.start()
    thread.join()
    gc.collect()  # nothing may be left for this thread to free
    return got[0] if got else "raised"


def copies() -> list[Any]:
    from deploy.engines.tensorrt.cuda import PyCuda

    with PyCuda() as gpu:
        stream, event, pinned = gpu.stream(), gpu.event(), gpu.pinned(6)
        back = gpu.pinned(6)
        pinned[:] = range(6)
        address = gpu.alloc(6)
        gpu.upload(address, pinned, stream)
        gpu.download(back[:4], address, stream)
        gpu.record(event, stream)
        gpu.wait(event)
        gpu.synchronize(stream)
        got = back[:4].tolist()
        gpu.unpin(back)
        gpu.free(address)
        gpu.alloc(3)  # left to the end, as are `pinned`, stream and event
        return [got, stream > 0]


def errors(driver: Any) -> list[str]:
    from deploy.engines.tensorrt.cuda import PyCuda
    from models.errors import EngineError

    found = []
    with PyCuda() as gpu:
        driver.fake_room(ctypes.c_size_t(10))
        for size in (11, 10):
            try:
                gpu.alloc(size)
                found.append("room")
            except EngineError as error:
                found.append(type(error).__name__)
        driver.fake_room(ctypes.c_size_t(1 << 30))
    return found


def engine(driver: Any) -> list[Any]:
    """Whether it answers, and what of it outlived a primary context."""
    from deploy.bundle import InputRule
    from deploy.engines.tensorrt.cuda import PyCuda
    from deploy.engines.tensorrt.run import TensorRTEngine

    world = World()

    class Watched(PyCuda):
        def __exit__(self, *_: object) -> None:
            super().__exit__()
            if driver.fake_holds() == 0:
                world.end()

    sys.modules["tensorrt"] = fake_tensorrt(world)
    rng = np.random.default_rng(0)
    loaded = TensorRTEngine(
        json.dumps(PLAN).encode(), rule=InputRule(stride=8, multiple=8),
        precision="fp16", lanes=2, open_gpu=Watched,
    )  # fmt: skip
    batches = [rng.integers(0, 256, (n, 64, 8 * n, 3), np.uint8) for n in (1, 2, 9, 3) * 6]
    futures = [loaded.submit(batch) for batch in batches]
    same = [np.allclose(f.result(), expected(b)) for f, b in zip(futures, batches, strict=True)]
    loaded.close()
    return [all(same), world.orphans]


def sticky(driver: Any) -> list[str]:
    from deploy.engines.tensorrt.cuda import PyCuda
    from models.errors import EngineError

    found = []
    with PyCuda() as gpu:
        stream = gpu.stream()
        gpu.pinned(5)
        gpu.alloc(5)
        driver.fake_break(1)
        for call in (lambda: gpu.synchronize(stream), lambda: gpu.alloc(1)):
            try:
                call()
            except EngineError as error:
                found.append(type(error).__name__)
    driver.fake_break(0)
    return found


if __name__ == "__main__":
    pycuda, stub = map(Path, sys.argv[1:3])
    loaded = ctypes.CDLL(str(stub), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(pycuda))
    code = 1
    try:
        print(json.dumps(work(loaded)), flush=True)  # noqa: T201  # its answer
        code = 0
    finally:
        if code:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)
