"""Plans over a fake TensorRT: built once, found again, rebuilt where they do not fit."""

import io
import json
import os
import resource
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.bundle import Bundle
from deploy.engines import load_engine
from deploy.engines import tensorrt as ours
from deploy.engines.tensorrt import TensorRT, callbacks, cuda
from deploy.engines.tensorrt.callbacks import Phases
from deploy.engines.tensorrt.plans import Facts, Plans, profiles, write
from models.errors import EngineError
from tests.deploy.tensorrt.fake import World

FACTS = Facts(
    onnx="ab" * 32, precision="fp16", tensorrt="11.4.0", gpu="Fake GPU (9.0)", driver="13000",
    profiles=profiles(16),
)  # fmt: skip


def load_and_close(backend: TensorRT, bundle: Bundle) -> None:
    backend.load(bundle, precision="fp16", lanes=1).close()


def test_a_plan_is_built_once_and_found_again(
    backend: TensorRT, tiny: Bundle, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    load_and_close(backend, tiny)
    load_and_close(backend, tiny)
    assert world.built == 1
    assert caplog.records == []


def test_another_version_or_gpu_builds_again_and_says_so_in_one_line(
    backend: TensorRT,
    tiny: Bundle,
    world: World,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_and_close(backend, tiny)
    monkeypatch.setattr(cuda, "card", lambda: cuda.Card("Fake GPU 2", "9.0", "13000"))
    load_and_close(backend, tiny)
    assert world.built == 2
    (record,) = caplog.records
    assert record.message == (
        "the plan of tiny is for gpu Fake GPU (9.0) and not Fake GPU 2 (9.0): building it again"
    )


def test_a_plan_that_tensorrt_refuses_is_built_again(
    backend: TensorRT, tiny: Bundle, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    load_and_close(backend, tiny)
    world.once = {"deserialize_cuda_engine"}
    load_and_close(backend, tiny)
    assert world.built == 2
    assert "TensorRT refused its plan: wrong version: building it again" in caplog.text


def test_a_plan_that_was_altered_is_built_again(
    backend: TensorRT, tiny: Bundle, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_and_close(backend, tiny)
    (plan,) = tmp_path.glob("plans/*.plan")
    plan.write_bytes(plan.read_bytes()[:-1])
    load_and_close(backend, tiny)
    assert world.built == 2
    assert "was altered" in caplog.text


def test_a_plan_whose_facts_are_none_is_built_again(
    backend: TensorRT, tiny: Bundle, world: World, tmp_path: Path
) -> None:
    load_and_close(backend, tiny)
    (about,) = tmp_path.glob("plans/*.json")
    about.write_text("[]", encoding="utf-8")
    load_and_close(backend, tiny)
    assert world.built == 2


def test_build_always_builds_and_says_where(
    backend: TensorRT, tiny: Bundle, world: World, tmp_path: Path
) -> None:
    path = backend.build(tiny, precision="fp32")
    backend.build(tiny, precision="fp32")
    assert world.built == 2
    assert path.parent == tmp_path / "plans"
    kept = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert (kept["precision"], kept["tensorrt"]) == ("fp32", "11.4.0")


@pytest.mark.parametrize("version", ["10.0.1", "10.16.1.11", "11.0.0.114"])
def test_a_network_is_strongly_typed_in_every_version(
    backend: TensorRT,
    tiny: Bundle,
    world: World,
    version: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fake refuses a network made with other flags than its version wants."""
    world.version = version
    monkeypatch.setattr("tensorrt.__version__", version)
    load_and_close(backend, tiny)
    assert world.built == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("Builder", "cannot start on this GPU: CUDA initialization failure with error: 35"),
        ("parse", "cannot read the model: Einsum node_7: unsupported by fakes"),
        ("add_optimization_profile", "refused Profile.*: a profile of nothing"),
        ("build_serialized_network", "built no plan: no kernel found"),
    ],
)
def test_a_build_that_fails_says_why_in_one_line(
    backend: TensorRT, tiny: Bundle, world: World, call: str, says: str
) -> None:
    world.no = {call}
    with pytest.raises(EngineError, match=says) as refused:
        backend.load(tiny, precision="fp16")
    assert "\n" not in str(refused.value)
    assert (world.builders, world.orphans) == (0, 0)  # while the error is kept


def test_profiles_that_the_bindings_refuse_say_why(
    backend: TensorRT, tiny: Bundle, world: World
) -> None:
    world.raises = {"set_shape"}
    with pytest.raises(EngineError, match=r"refused Profile.*set_shape is not possible"):
        backend.load(tiny, precision="fp16")


def test_a_timing_cache_that_does_not_fit_is_left_out(
    backend: TensorRT, tiny: Bundle, world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    world.no = {"set_timing_cache"}
    load_and_close(backend, tiny)
    assert "building without it" in caplog.text
    assert not list(tmp_path.glob("plans/*.timings"))
    world.no = set()
    backend.build(tiny, precision="fp16")
    (timings,) = tmp_path.glob("plans/*.timings")
    assert timings.read_bytes() == b"timings"


def test_a_timing_cache_that_neither_fits_nor_goes_away_is_left_alone(
    backend: TensorRT, tiny: Bundle, world: World, tmp_path: Path
) -> None:
    world.no = {"set_timing_cache"}
    (tmp_path / "plans/11.4.0_Fake_GPU_9.0_.timings").mkdir(parents=True)
    assert backend.build(tiny, precision="fp16").is_file()


def test_a_folder_that_cannot_be_written_is_one_line(
    backend: TensorRT, tiny: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "plans").write_text("in the way", encoding="utf-8")
    with pytest.raises(EngineError, match="cannot be kept in"):
        backend.build(tiny, precision="fp16")


def test_a_plan_that_cannot_be_kept_is_run_all_the_same(
    backend: TensorRT, tiny: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "plans").write_text("in the way", encoding="utf-8")
    load_and_close(backend, tiny)
    assert "cannot be kept in" in caplog.text
    assert "the next start builds it again" in caplog.text


def test_a_disk_that_is_full_keeps_no_part_of_a_plan(tmp_path: Path) -> None:
    (tmp_path / "a.plan").write_bytes(b"old")
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most))
    try:
        with pytest.raises(OSError, match="too large"):
            write(tmp_path / "a.plan", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_plan_is_for_whoever_the_user_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.plan", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.plan").stat().st_mode & 0o777 == 0o640


def test_cancelling_stops_the_build_at_the_next_step(world: World) -> None:
    cancelled = threading.Event()
    monitor = callbacks.monitor(lambda _done, _note: None, cancelled)
    monitor.phase_start("build", None, 3)
    assert monitor.step_complete("build", 0) is True
    cancelled.set()
    assert monitor.step_complete("build", 1) is False


def test_a_terminal_that_is_closed_does_not_end_the_build(
    backend: TensorRT, tiny: Bundle, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    closed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", closed)
    monkeypatch.setattr(closed, "isatty", closed.close)
    assert backend.build(tiny, precision="fp16").is_file()
    (record,) = caplog.records
    assert "progress cannot be shown: I/O operation on closed file" in record.message


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start", "step", "finish"]),
            st.sampled_from("abc"),
            st.sampled_from(["a", "b", None]),
            st.integers(0, 5),
        ),
        max_size=40,
    )
)
def test_progress_never_falls_whatever_tensorrt_says(
    story: list[tuple[str, str, str | None, int]],
) -> None:
    phases, before = Phases(), 0.0
    for what, name, parent, number in story:
        if what == "start":
            phases.start(name, parent, number)
        elif what == "step":
            phases.step(name, number)
        else:
            phases.finish(name)
        assert before <= phases.done() <= 1.0
        before = phases.done()


def test_progress_of_one_phase_grows_with_its_steps_and_inner_phases() -> None:
    phases = Phases()
    phases.start("build", None, 2)
    phases.start("inner", "build", 4)
    phases.step("inner", 1)
    assert phases.done() == pytest.approx(0.9 * 0.25)
    phases.finish("inner")
    phases.step("build", 0)
    assert phases.done() == pytest.approx(0.9 * 0.5)
    phases.finish("build")
    assert phases.done() == pytest.approx(0.9)


@pytest.mark.parametrize("multiple", [8, 16, 32])
def test_profiles_keep_the_input_rule(multiple: int) -> None:
    for one in profiles(multiple):
        assert one.low[1:] == (multiple, multiple)
        for low, best, high in zip(one.low, one.best, one.high, strict=True):
            assert low <= best <= high
        assert not any(side % multiple for side in (*one.best[1:], *one.high[1:]))


def test_names_of_bundles_cannot_leave_the_folder(tmp_path: Path) -> None:
    path = Plans(tmp_path).path("../../etc/x*", FACTS)
    assert path.parent == tmp_path
    assert "*" not in path.name


def test_precisions_are_those_of_the_bundle(backend: TensorRT, tiny: Bundle) -> None:
    assert backend.precisions(tiny) == ["fp32", "fp16"]
    says = "tensorrt runs bundle tiny here in fp32, fp16, not in bf16: set precision to auto"
    with pytest.raises(EngineError, match=says):
        backend.load(tiny, precision="bf16")
    engine = backend.load(tiny, precision="auto")
    assert engine.precision == "fp16"
    engine.close()


def test_without_the_package_the_reason_says_what_to_install_and_auto_moves_on(
    tiny: Bundle,
) -> None:
    if ours.backend.unavailable() is None:
        pytest.skip("TensorRT runs here: this is for machines where it needs an NVIDIA GPU")
    assert "needs an NVIDIA GPU" in str(ours.backend.unavailable())
    with pytest.raises(EngineError, match="tensorrt: "):
        load_engine(tiny, name="tensorrt")
    engine = load_engine(tiny, name="auto")
    assert engine.name != "tensorrt"
    engine.close()
