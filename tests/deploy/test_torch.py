"""What the torch engines keep beyond the contract of every engine."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.bundle import WEIGHTS, Bundle, InputRule
from deploy.engines import AUTO, BACKENDS, BY_NAME, Frames, Maps, load_engine
from deploy.engines._torch import Deployed, deployed
from deploy.engines.torch_cpu import TorchCpuEngine
from deploy.engines.torch_cuda import NO_MEMORY, Graphs, Shape, TorchCudaEngine
from models.checkpoint import load_checkpoint
from models.errors import EngineError
from models.nets import NETS, Pixels

NO_GPU = BACKENDS["torch-cuda"].unavailable()


RULE = InputRule(stride=8, multiple=16)


def noise(number: int, height: int, width: int) -> Frames:
    rng = np.random.default_rng(height * width + number)
    return rng.integers(0, 256, (number, height, width, 3), dtype=np.uint8)


class FakeRunner:
    """Gives each frame's first pixel; fails on more frames than it has room for."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def run(self, frames_NHW3: Frames) -> Maps:
        assert frames_NHW3.shape[1:] == self.shape[1:]
        assert len(frames_NHW3) <= self.shape[0]
        return frames_NHW3[:, :1, :1, 0].astype(np.float32)


class Built(list[Shape]):
    def __call__(self, shape: Shape) -> FakeRunner:
        self.append(shape)
        return FakeRunner(shape)


def test_graphs_are_built_for_powers_of_two_and_answer_for_the_frames_alone() -> None:
    built = Built()
    graphs = Graphs(built)
    for number in range(1, 10):
        frames_NHW3 = noise(number, 8, 16)
        np.testing.assert_array_equal(graphs.run(frames_NHW3)[:, 0, 0], frames_NHW3[:, 0, 0, 0])
    assert built == [(number, 8, 16, 3) for number in (1, 2, 4, 8, 16)]


def test_the_least_recently_used_graph_goes_before_another_is_built() -> None:
    alive: list[int] = []

    def build(shape: Shape) -> FakeRunner:
        alive.append(len(graphs.shapes()))
        return FakeRunner(shape)

    graphs = Graphs(build, keep=2)
    for width in (8, 16, 8, 24, 8, 16):
        graphs.run(noise(1, 8, width))
    assert [shape[2] for shape in graphs.shapes()] == [8, 16]
    assert alive == [0, 1, 1, 1]  # 8, 16, 24 in place of 16, 16 in place of 24
    graphs.clear()
    assert graphs.shapes() == []


def test_a_graph_that_cannot_be_built_is_tried_again() -> None:
    failures = [RuntimeError("out of memory")]

    def build(shape: Shape) -> FakeRunner:
        if failures:
            raise failures.pop()
        return FakeRunner(shape)

    graphs = Graphs(build)
    with pytest.raises(RuntimeError, match="out of memory"):
        graphs.run(noise(1, 8, 8))
    assert graphs.run(noise(1, 8, 8)).shape == (1, 1, 1)


class FullGpu(Built):
    """Has room for graphs of so many frames, over all graphs that are kept."""

    def __init__(self, room: int, error: RuntimeError) -> None:
        super().__init__()
        self.room, self.error = room, error
        self.engine = TorchCudaEngine(self, rule=RULE, precision="fp16", lanes=2)

    def __call__(self, shape: Shape) -> FakeRunner:
        kept = sum(number for number, *_ in self.engine._graphs.shapes())
        if kept + shape[0] > self.room:
            raise self.error
        return super().__call__(shape)


class BrokenGpu(FakeRunner):
    def run(self, frames_NHW3: Frames) -> Maps:
        raise torch.AcceleratorError("CUDA error: an illegal memory access\nCUDA kernel errors")


def page_locked_memory_ran_out() -> RuntimeError:
    error = torch.AcceleratorError("CUDA error: out of memory")
    error.error_code = NO_MEMORY  # type: ignore[attr-defined]  # torch sets it, its stub lacks it
    return error


def a_recording_ended_early() -> RuntimeError:
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise torch.AcceleratorError("CUDA error: operation failed during capture")
    except torch.AcceleratorError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        page_locked_memory_ran_out(),
        a_recording_ended_early(),
    ],
    ids=["buffers", "page-locked", "recording"],
)
def test_a_batch_that_the_gpu_has_no_memory_for_is_run_in_halves(error: RuntimeError) -> None:
    gpu = FullGpu(room=7, error=error)
    for number in (2, 5, 7):
        frames_NHW3 = noise(number, 16, 16)
        maps = gpu.engine.submit(frames_NHW3).result()
        np.testing.assert_array_equal(maps[:, 0, 0], frames_NHW3[:, 0, 0, 0])
    assert [number for number, *_ in gpu] == [2, 4, 2, 4]  # 2; 3 and 2 of 5; 4 and 3 of 7
    assert gpu.engine.over is None
    gpu.engine.close()


def test_a_single_frame_gets_the_memory_of_other_graphs() -> None:
    gpu = FullGpu(room=1, error=torch.OutOfMemoryError("CUDA out of memory"))
    for width in (16, 32, 16):
        assert gpu.engine.submit(noise(1, 16, width)).result().shape == (1, 1, 1)
    gpu.engine.close()


def test_halves_that_do_not_fit_either_fail_in_one_line_and_the_engine_goes_on() -> None:
    gpu = FullGpu(room=1, error=torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"))
    with pytest.raises(EngineError, match=r"torch failed on \(8, 16, 16, 3\): CUDA out") as refused:
        gpu.engine.submit(noise(8, 16, 16)).result()
    assert "\n" not in str(refused.value)
    assert gpu.engine.over is None
    assert gpu.engine.submit(noise(1, 16, 16)).result().shape == (1, 1, 1)
    gpu.engine.close()


def test_a_cuda_error_that_sticks_ends_the_engine_and_it_says_why() -> None:
    engine = TorchCudaEngine(BrokenGpu, rule=RULE, precision="fp16", lanes=2)
    answers = [engine.submit(noise(number, 16, 16)) for number in (1, 2)]
    for answer in answers:
        with pytest.raises(EngineError) as refused:
            answer.result()
        assert str(refused.value) == engine.over
    assert engine.over == (
        "torch failed on (1, 16, 16, 3): CUDA error: an illegal memory access; "
        "this process can use the GPU no more: start it again"
    )
    engine.close()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_coarse_net_keeps_its_last_layer_and_its_answer_in_fp32(
    tiny: Bundle, precision: str
) -> None:
    net = deployed(tiny, precision=precision, device="cpu")
    dtypes = {
        module.out_channels: module.weight.dtype
        for module in net.modules()
        if isinstance(module, torch.nn.Conv2d)
    }
    assert dtypes.pop(1) == torch.float32
    assert torch.float32 not in dtypes.values()
    kernels = [w for w in net.parameters() if w.dim() == 4]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in kernels)
    frames_NHW3 = torch.from_numpy(noise(2, 48, 64))
    exact = Pixels(load_checkpoint(tiny.weights).net).eval()
    with torch.inference_mode():
        maps, true = net(frames_NHW3), exact(frames_NHW3)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, true, atol=0.01, rtol=0.02)
    assert not torch.equal(maps, true)


def test_an_odd_last_layer_is_fine_in_a_coarse_net() -> None:
    """csrnet ends in a plain convolution, which autocast casts with its input."""
    net = Deployed(Pixels(NETS["csrnet"](ratio=16)).eval().requires_grad_(False), "bf16")
    with torch.inference_mode():
        assert net(torch.zeros(1, 16, 32, 3, dtype=torch.uint8)).dtype == torch.float32


def test_each_lane_computes_alone_and_the_caller_keeps_its_threads(tiny: Bundle) -> None:
    before = torch.get_num_threads()
    engine = TorchCpuEngine(tiny, precision="fp32", lanes=2)
    assert isinstance(engine._pool, ThreadPoolExecutor)
    assert engine._pool.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == before
    engine.close()


def test_weights_that_the_manifest_does_not_name_are_not_run(tiny: Bundle) -> None:
    files = {name: digest for name, digest in tiny.manifest.files.items() if name != WEIGHTS}
    bundle = Bundle(tiny.folder, tiny.manifest.model_copy(update={"files": files}))
    with pytest.raises(EngineError, match="tiny has no weights"):
        load_engine(bundle, name="torch-cpu")


def test_weights_of_another_kind_are_refused_in_one_line(tiny: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny.folder, tmp_path / "tiny"))
    (folder / WEIGHTS).write_bytes(b"no tensors\n")
    with pytest.raises(EngineError, match=r"torch cannot load bundle tiny: .*not a check") as no:
        load_engine(Bundle(folder, tiny.manifest), name="torch-cpu")
    assert "\n" not in str(no.value)


def test_int8_is_refused_with_what_there_is(tiny: Bundle) -> None:
    with pytest.raises(EngineError, match=r"here in fp32.*, not in int8"):
        load_engine(tiny, name="torch-cpu", precision="int8")


def test_torch_on_the_cpu_is_never_chosen_for_anybody() -> None:
    assert "torch-cpu" in BY_NAME
    assert "torch-cpu" not in AUTO


def test_where_there_is_no_gpu_nobody_imports_torch_to_find_out() -> None:
    if NO_GPU is None:
        pytest.skip("this machine has a GPU")
    code = (
        "import sys; from deploy.engines import BACKENDS;"
        "[BACKENDS[n].unavailable() for n in BACKENDS.names()]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.gpu
@pytest.mark.skipif(bool(NO_GPU), reason=f"needs an NVIDIA GPU ({NO_GPU})")
def test_fp16_on_a_gpu_counts_like_the_net_while_shapes_come_and_go(tiny: Bundle) -> None:
    net = Pixels(load_checkpoint(tiny.weights).net).eval()
    engine = load_engine(tiny, name="torch-cuda", precision="fp16")
    for number, width in ((1, 32), (3, 48), (8, 32), (5, 32), (2, 80), (3, 48)):
        frames_NHW3 = noise(number, 48, width)
        with torch.inference_mode():
            true = net(torch.from_numpy(frames_NHW3)).numpy()
        maps = engine.submit(frames_NHW3).result()
        np.testing.assert_allclose(maps.sum((1, 2)), true.sum((1, 2)), rtol=5e-3)
    engine.close()
