"""The true build, run and parity. Runs only where there is an NVIDIA GPU with TensorRT and pycuda:
`pytest -m gpu tests/deploy/tensorrt`. Until it passed on such a machine, numerics, speed and the
acceptance of our graphs are unproven.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.bundle import Bundle, open_bundle, shipped
from deploy.engines import BACKENDS, Engine, Frames, Maps, Precision, load_engine
from deploy.engines.tensorrt import TensorRT, build
from models.checkpoint import load_checkpoint
from models.errors import EngineError
from models.nets import Pixels

SIZES = ((1, 16, 16), (1, 1088, 1920), (3, 96, 160), (8, 576, 768), (20, 64, 96), (2, 1920, 1088))
GAPS: dict[Precision, float] = {"fp32": 0.001, "fp16": 0.01, "int8": 0.05}  # of a count

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", autouse=True)
def _needs_a_gpu() -> None:
    reason = BACKENDS["tensorrt"].unavailable()
    if reason:
        pytest.skip(f"needs an NVIDIA GPU with TensorRT ({reason})")


@pytest.fixture(scope="module", params=shipped())
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return open_bundle(request.param)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> TensorRT:
    return TensorRT(folder=tmp_path_factory.mktemp("plans"))


@pytest.fixture(scope="module", params=GAPS)
def engine(request: pytest.FixtureRequest, backend: TensorRT, bundle: Bundle) -> Iterator[Engine]:
    loaded = backend.load(bundle, precision=request.param)
    yield loaded
    loaded.close()


def noise(number: int, height: int, width: int) -> Frames:
    rng = np.random.default_rng(number * height * width)
    return rng.integers(0, 256, (number, height, width, 3), dtype=np.uint8)


def wanted(bundle: Bundle, precision: str, frames_NHW3: Frames) -> Maps:
    """The net's maps; for int8, which noise does not fit, those of the same graph on the CPU."""
    if precision == "int8":
        on_cpu = load_engine(bundle, name="onnxruntime", precision="int8")
        with closing(on_cpu):
            return on_cpu.submit(frames_NHW3).result()
    net = Pixels(load_checkpoint(bundle.weights).net).eval()
    with torch.inference_mode():
        maps: Maps = net(torch.from_numpy(frames_NHW3)).numpy()
    return maps


@pytest.mark.parametrize("size", SIZES)
def test_tensorrt_counts_like_the_net(
    engine: Engine, bundle: Bundle, size: tuple[int, int, int]
) -> None:
    frames_NHW3 = noise(*size)
    maps, want = engine.submit(frames_NHW3).result(), wanted(bundle, engine.precision, frames_NHW3)
    assert maps.shape == want.shape
    gap = np.abs(maps.sum((1, 2)) - want.sum((1, 2))) / np.maximum(want.sum((1, 2)), 1.0)
    assert gap.max() < GAPS[engine.precision]  # type: ignore[index]


def test_many_sizes_from_many_threads_do_not_mix(engine: Engine) -> None:
    batches = [noise(*SIZES[i % len(SIZES)]) for i in range(60)]
    alone = {id(batch): engine.submit(batch).result() for batch in batches}
    with ThreadPoolExecutor(8) as callers:
        maps = list(callers.map(lambda batch: engine.submit(batch).result(), batches))
    for batch, got in zip(batches, maps, strict=True):
        np.testing.assert_allclose(got, alone[id(batch)], rtol=1e-2, atol=1e-3)


def test_the_plan_is_found_again(
    backend: TensorRT, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.load(bundle, precision="fp16").close()

    def again(*_: object, **__: object) -> bytes:
        raise AssertionError("built twice")

    monkeypatch.setattr(build, "build", again)
    backend.load(bundle, precision="fp16").close()


def test_a_model_that_is_none_is_refused_in_one_line(
    backend: TensorRT, bundle: Bundle, tmp_path: Path
) -> None:
    facts = backend._facts(bundle, "fp16")
    with pytest.raises(EngineError, match="cannot read the model") as refused:
        build.build(b"no onnx", facts, timings=tmp_path / "t", open_gpu=backend._open_gpu)
    assert "\n" not in str(refused.value)
