"""throng-deploy, as it is typed."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import bench as speed
from deploy import budget
from deploy.__main__ import main
from deploy.bench_case import Case
from deploy.bundle import Bundle, open_bundle
from deploy.engines import BACKENDS, Precision, tensorrt

MakeCheckpoint = Callable[..., Path]
Said = tuple[int, str, str]
Type = Callable[..., Said]


@pytest.fixture
def throng_deploy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Runs a command line; gives exit code, output and errors."""

    def type_(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["throng-deploy", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        code = left.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return type_


@pytest.fixture
def copy(tiny: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.folder, tmp_path / "tiny"))


def test_export_makes_a_bundle(
    throng_deploy: Type, make_checkpoint: MakeCheckpoint, counts: Path, tmp_path: Path
) -> None:
    words = ("--counts", counts, "--name", "mine", "--out", tmp_path / "mine")
    code, said, errors = throng_deploy("export", make_checkpoint(), *words)
    assert (code, errors) == (0, "")
    assert said == f"bundle mine: {tmp_path / 'mine'}\n"
    assert open_bundle(f"{tmp_path}/mine").name == "mine"


def test_quantise_adds_int8(throng_deploy: Type, copy: Path, split: Path) -> None:
    code, said, _ = throng_deploy("quantise", copy, "--pictures", split, "--limit", 2)
    assert (code, said) == (0, f"int8 added to bundle tiny: {copy}\n")
    assert open_bundle(str(copy)).manifest.calibrated_on == 2


def test_parity_prints_and_writes(
    throng_deploy: Type, copy: Path, split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if BACKENDS["openvino"].unavailable():
        pytest.skip("openvino is not installed")
    words = ("parity", copy, "--engine", "openvino", "--limit", 2, "--pictures")
    code, said, _ = throng_deploy(*words, split / "images", "--no-write")
    assert code == 0
    assert "openvino" in said
    assert open_bundle(str(copy)).manifest.parity == ()
    code, _, errors = throng_deploy(*words, split)
    assert (code, "compared on 2 pictures, so nothing is written" in errors) == (2, True)
    monkeypatch.setattr(budget, "LEAST_PICTURES", 2)
    assert throng_deploy(*words, split)[0] == 0
    assert {row.pictures for row in open_bundle(str(copy)).manifest.parity} == {2}


@pytest.mark.slow
def test_bench_measures_prints_and_saves(throng_deploy: Type, copy: Path, tmp_path: Path) -> None:
    if BACKENDS["openvino"].unavailable():
        pytest.skip("openvino is not installed")
    case = ("--engine", "openvino", "--precision", "fp32", "--size", "64x32", "--lanes", 1)
    words = ("bench", copy, *case, "--net", "csrnet:ratio=16", "--rounds", 1)
    code, said, _ = throng_deploy(*words, "--out", tmp_path / "bench")
    assert code == 0
    assert all(name in said for name in ("tiny", "csrnet:ratio=16", "openvino fp32", "64x32"))
    assert {path.suffix for path in (tmp_path / "bench").iterdir()} == {".json", ".md", ".png"}


BENCH = ("--precision", "fp32", "--size", "64x32", "--lanes", 1)


def test_bench_refuses_an_out_that_is_no_folder_before_it_measures(
    throng_deploy: Type, monkeypatch: pytest.MonkeyPatch, tiny: Bundle, tmp_path: Path
) -> None:
    def measured(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(speed, "bench", measured)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    code, _, errors = throng_deploy("bench", tiny.folder, *BENCH, "--out", tmp_path / "file")
    assert code == 2
    assert errors.endswith("file cannot be a folder (File exists): choose another\n")


def test_bench_saves_and_says_why_a_case_failed_whatever_is_in_brackets(
    throng_deploy: Type, monkeypatch: pytest.MonkeyPatch, tiny: Bundle, tmp_path: Path
) -> None:
    why = "no kernel for {Node[node_conv2d]} [/net/conv]"
    monkeypatch.setattr(speed, "in_a_process", lambda _: why)
    code, said, _ = throng_deploy("bench", tiny.folder, *BENCH, "--out", tmp_path / "a/b")
    assert code == 0
    assert f" fp32: {why}\n" in said
    assert {path.suffix for path in (tmp_path / "a/b").iterdir()} == {".json", ".md"}


def test_build_takes_for_auto_what_would_be_run(
    throng_deploy: Type, monkeypatch: pytest.MonkeyPatch, tiny_int8: Bundle
) -> None:
    class Builder:
        def unavailable(self) -> None:
            return None

        def precisions(self, _: Bundle) -> list[Precision]:
            return ["fp32", "fp16", "int8"]

        def build(self, _: Bundle, *, precision: Precision) -> Path:
            return Path(f"{precision}.plan")

    monkeypatch.setattr(tensorrt, "backend", Builder())
    build = ("build", tiny_int8.folder, "--precision")
    assert throng_deploy(*build, "auto")[:2] == (0, "built fp16.plan\n")
    assert throng_deploy(*build, "int8")[:2] == (0, "built int8.plan\n")  # to be compared


def test_what_serves_needs_no_framework_to_list_and_build(tiny: Bundle) -> None:
    """A machine that serves has neither torch nor matplotlib, and with OpenVINO not even onnx."""
    words = ["throng-deploy", "build", str(tiny.folder), "--engine", "onnxruntime"]
    script = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'safetensors', 'matplotlib'): sys.modules[name] = None\n"
        f"sys.argv = {words}\n"
        "from deploy.__main__ import main\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.stderr == (
        "throng-deploy: onnxruntime builds nothing ahead: it is ready when it is loaded\n"
    )


def test_bench_takes_a_folder_by_a_relative_path(
    throng_deploy: Type, monkeypatch: pytest.MonkeyPatch, copy: Path
) -> None:
    opened = []

    def measured(case: Case) -> str:
        opened.append(case.bundle)
        return "not measured"

    monkeypatch.setattr(speed, "in_a_process", measured)
    monkeypatch.chdir(copy.parent)
    assert throng_deploy("bench", f"./{copy.name}", *BENCH)[0] == 0
    assert set(opened) == {str(copy)}


def test_list_says_what_can_run_here(throng_deploy: Type) -> None:
    code, said, _ = throng_deploy("list")
    assert code == 0
    assert all(name in said for name in BACKENDS.names())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("parity", "no-such", "--pictures", "."), 3, "no bundle 'no-such'"),
        (("export", "no.safetensors", "--counts", "no.csv"), 2, "no.csv cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_an_exit_code(
    throng_deploy: Type, words: tuple[str, ...], code: int, says: str
) -> None:
    left, said, errors = throng_deploy(*words)
    assert (left, said) == (code, "")
    assert errors.startswith("throng-deploy: ")
    assert says in errors
    assert errors.count("\n") == 1
