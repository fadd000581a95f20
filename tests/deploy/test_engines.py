"""What every engine keeps: one file in deploy/engines is tested before its author writes a test."""

import importlib.util
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deploy.bundle import Bundle
from deploy.engines import AUTO, BACKENDS, BY_NAME, Engine, Frames, Maps, load_engine
from deploy.engines import openvino as on_openvino
from deploy.engines._openvino_graph import keep_head_in_fp32, sum_in_convolutions
from models.checkpoint import load_checkpoint
from models.errors import ConfigError, EngineError
from models.nets import Pixels

SIZES = ((16, 32), (48, 144), (16, 16), (80, 32))


@pytest.fixture(params=BACKENDS.names())
def engine(request: pytest.FixtureRequest, tiny: Bundle) -> Iterator[Engine]:
    backend = BACKENDS[request.param]
    reason = backend.unavailable()
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    loaded = backend.load(tiny, precision="fp32", lanes=2)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def net(tiny: Bundle) -> Pixels:
    return Pixels(load_checkpoint(tiny.weights).net).eval()


def noise(number: int, height: int, width: int) -> Frames:
    rng = np.random.default_rng(height * width + number)
    return rng.integers(0, 256, (number, height, width, 3), dtype=np.uint8)


def by_net(net: Pixels, frames_NHW3: Frames) -> Maps:
    with torch.inference_mode():
        maps: Maps = net(torch.from_numpy(frames_NHW3)).numpy()
    return maps


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_an_engine_gives_the_maps_of_the_net_at_any_size(
    engine: Engine, net: Pixels, number: int, size: tuple[int, int]
) -> None:
    frames_NHW3 = noise(number, *size)
    maps = engine.submit(frames_NHW3).result()
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, by_net(net, frames_NHW3), atol=1e-4)
    assert maps.max() > 0.01  # the net does answer: nothing is compared with nothing


def test_sizes_come_on_demand_from_several_threads(engine: Engine, net: Pixels) -> None:
    batches = [noise(1 + i % 2, *SIZES[i % len(SIZES)]) for i in range(24)]
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda batch: engine.submit(batch).result(), batches))
    for frames_NHW3, maps in zip(batches, answers, strict=True):
        np.testing.assert_allclose(maps, by_net(net, frames_NHW3), atol=1e-4)


def test_what_an_engine_gave_does_not_change_afterwards(engine: Engine) -> None:
    first = engine.submit(noise(1, 16, 32)).result()
    kept = first.copy()
    engine.submit(255 - noise(1, 16, 32)).result()
    np.testing.assert_array_equal(first, kept)


def test_frames_need_not_lie_in_one_piece(engine: Engine, net: Pixels) -> None:
    mirrored = noise(1, 16, 32)[:, :, ::-1]
    maps = engine.submit(mirrored).result()
    np.testing.assert_allclose(maps, by_net(net, mirrored.copy()), atol=1e-4)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 24, 32, 3), np.uint8),
        np.zeros((1, 32, 24, 3), np.uint8),
        np.zeros((1, 32, 32, 4), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((0, 32, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 3), np.float32),
    ],
    ids=lambda frames: f"{frames.shape} {frames.dtype}",
)
def test_frames_that_break_the_input_rule_fail_in_one_line(
    engine: Engine, frames: NDArray[np.uint8]
) -> None:
    with pytest.raises(EngineError, match="wanted") as refused:
        engine.submit(frames).result()
    assert "\n" not in str(refused.value)


def test_an_engine_may_be_closed_twice(engine: Engine) -> None:
    last = engine.submit(noise(1, 16, 32))
    engine.close()
    engine.close()
    assert last.done()


@pytest.mark.parametrize("name", BACKENDS.names())
def test_every_precision_of_an_engine_loads(name: str, tiny: Bundle) -> None:
    backend = BACKENDS[name]
    if backend.unavailable():
        pytest.skip(f"{name}: {backend.unavailable()}")
    assert backend.precisions(tiny)[0] == "fp32"
    for precision in backend.precisions(tiny):
        engine = backend.load(tiny, precision=precision)
        assert (engine.name, engine.precision) == (name, precision)
        assert engine.lanes >= 1
        engine.close()


@pytest.mark.parametrize("name", BACKENDS.names())
def test_auto_is_the_last_of_what_an_engine_can(name: str, tiny_int8: Bundle) -> None:
    backend = BACKENDS[name]
    if backend.unavailable():
        pytest.skip(f"{name}: {backend.unavailable()}")
    engine = backend.load(tiny_int8, precision="auto")
    engine.close()
    assert engine.precision == backend.precisions(tiny_int8)[-1]


@pytest.mark.parametrize("name", BACKENDS.names())
def test_a_precision_that_an_engine_lacks_is_refused_with_those_it_has(
    name: str, tiny: Bundle
) -> None:
    backend = BACKENDS[name]
    if backend.unavailable():
        pytest.skip(f"{name}: {backend.unavailable()}")
    can = ", ".join(backend.precisions(tiny))
    with pytest.raises(EngineError, match=f"in {can}, not in int8: set precision to auto or one"):
        backend.load(tiny, precision="int8")


def test_auto_knows_every_engine() -> None:
    assert set(BACKENDS.names()) <= {*AUTO, *BY_NAME}


def test_an_engine_without_its_framework_says_what_to_install(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(EngineError, match=r"openvino: .*not installed \(pip install"):
        load_engine(tiny, name="openvino")


def test_an_unknown_engine_is_refused_with_the_names_that_are_there(tiny: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"'abacus'; it has .*openvino"):
        load_engine(tiny, name="abacus")


def test_openvino_keeps_few_sizes_and_answers_all(
    tiny: Bundle, net: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = BACKENDS["openvino"].unavailable()
    if reason:
        pytest.skip(reason)
    monkeypatch.setattr(on_openvino, "PLACES", 2.5)
    engine = on_openvino.OpenVinoEngine(tiny, precision="fp32", lanes=2)
    for size in (*SIZES, *SIZES):
        frames_NHW3 = noise(1, *size)
        maps = engine.submit(frames_NHW3).result()
        np.testing.assert_allclose(maps, by_net(net, frames_NHW3), atol=1e-4)
        assert len(engine._graphs) <= 2
    engine.close()


class Compiling(on_openvino.OpenVinoEngine):
    """Notes what it compiles."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, precision="fp32", lanes=1)
        self.compiled: list[tuple[int, ...]] = []

    def _compile(self, shape: tuple[int, ...]) -> Any:
        self.compiled.append(shape)
        return super()._compile(shape)


@pytest.fixture
def cramped(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiling]:
    """OpenVINO with room for three small sizes."""
    if reason := BACKENDS["openvino"].unavailable():
        pytest.skip(reason)
    monkeypatch.setattr(on_openvino, "PLACES", 3.5)
    engine = Compiling(tiny)
    yield engine
    engine.close()


def test_openvino_keeps_most_sizes_where_they_come_in_turn_and_are_one_too_many(
    cramped: Compiling, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(15):
        for size in SIZES:
            cramped.submit(noise(1, *size)).result()
    assert len(cramped.compiled) <= 2 * 15 + 2
    assert caplog.text.count("give cameras fewer sizes") == 1


def test_openvino_keeps_the_sizes_of_cameras_beside_one_that_no_room_would_hold(
    cramped: Compiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_openvino, "PLACES", 5.0)
    giant = (1280, 1280)
    for _ in range(3):
        for size in (*SIZES[:2], giant):
            cramped.submit(noise(1, *size)).result()
    assert len(cramped.compiled) == 3


def test_openvino_keeps_the_sizes_of_cameras_whatever_is_posted(cramped: Compiling) -> None:
    cameras, posted = SIZES[:2], [(16, 16 * number) for number in range(3, 9)]
    for size in (*cameras, *cameras, *posted, *cameras):
        cramped.submit(noise(1, *size)).result()
    assert len(cramped.compiled) == len(cameras) + len(posted)


def test_a_size_that_was_used_much_goes_when_others_have_been_used_for_long(
    cramped: Compiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_openvino, "OFTEN", 8)
    first, *others = SIZES
    for size in (*[first] * 8, *others[:2] * 24, others[2], first):
        cramped.submit(noise(1, *size)).result()
    assert cramped.compiled.count((1, *first, 3)) == 2


def test_large_sizes_take_the_room_of_many_small_ones(
    cramped: Compiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_openvino, "PLACE_PX", 32 * 32)
    for _ in range(2):
        for size in ((16, 16), (16, 32), (64, 64)):
            cramped.submit(noise(1, *size)).result()
    assert cramped.compiled.count((1, 64, 64, 3)) == 2


def test_openvino_s_head_in_fp32_is_the_same_net(tiny: Bundle) -> None:
    """In bf16 OpenVINO rounds the weights of convolutions, and leaves a product and a sum alone."""
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    model = core.read_model(tiny.model("fp32"))
    kept = model.clone()
    keep_head_in_fp32(kept)
    frames_NHW3 = noise(1, 48, 144)
    as_fp32 = {"INFERENCE_PRECISION_HINT": "f32"}
    one, other = (
        core.compile_model(graph, "CPU", as_fp32)([frames_NHW3])[0] for graph in (model, kept)
    )
    np.testing.assert_allclose(one, other, atol=1e-6)
    convolutions = [
        [op.get_type_name() for op in graph.get_ops()].count("Convolution")
        for graph in (model, kept)
    ]
    assert convolutions[1] == convolutions[0] - 1


def test_openvino_adds_short_cuts_within_its_int8_convolutions(tiny_int8: Bundle) -> None:
    openvino = pytest.importorskip("openvino")
    if "int8" not in BACKENDS["openvino"].precisions(tiny_int8):
        pytest.skip("OpenVINO has no int8 on this processor")
    core = openvino.Core()
    plain = core.read_model(tiny_int8.model("int8"))
    joined = plain.clone()
    sum_in_convolutions(joined)
    frames_NHW3 = noise(1, 48, 144)
    layers, counts = [], []
    for graph in (plain, joined):
        graph.reshape(list(frames_NHW3.shape))
        compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        counts.append(compiled([frames_NHW3])[0].sum())
        layers.append([op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()])
    assert counts[1] == pytest.approx(counts[0], rel=1e-3)
    apart, within = (
        [info["layerType"].value for info in one if "node_add" in info["originalLayersNames"].value]
        for one in layers
    )
    assert set(apart) - {"Convolution"}
    assert within == ["Convolution"] * 4


def test_openvino_offers_no_int8_where_the_processor_would_miscount_in_it(
    tiny_int8: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = BACKENDS["openvino"]
    if reason := backend.unavailable():
        pytest.skip(reason)
    monkeypatch.setattr(on_openvino, "int8_is_exact", lambda: True)
    assert "int8" in backend.precisions(tiny_int8)
    monkeypatch.setattr(on_openvino, "int8_is_exact", lambda: False)
    assert "int8" not in backend.precisions(tiny_int8)
    with pytest.raises(EngineError, match="int8"):
        backend.load(tiny_int8, precision="int8")
