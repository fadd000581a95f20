"""`throng-deploy build`, as it is typed."""

import sys
from pathlib import Path

import pytest

from deploy.__main__ import main
from deploy.bundle import Bundle
from deploy.engines import BACKENDS
from deploy.engines import tensorrt as ours
from deploy.engines.tensorrt import TensorRT
from tests.deploy.tensorrt.fake import World


def throng_deploy(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["throng-deploy", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    assert isinstance(left.value.code, int)
    return left.value.code


def test_build_makes_a_plan_and_says_where(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    backend: TensorRT,
    world: World,
    tiny: Bundle,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(ours, "backend", backend)
    words = ("build", tiny.folder, "--precision", "fp16")
    assert throng_deploy(monkeypatch, *words) == 0
    said, progress = capsys.readouterr()
    (plan,) = tmp_path.glob("plans/*.plan")
    assert said == f"built {plan}\n"
    assert "building a TensorRT fp16 plan 100/100" in progress
    assert world.built == 1


@pytest.mark.parametrize(
    ("engine", "says"),
    [("openvino", "openvino builds nothing ahead"), ("tensorrt", "tensorrt cannot run here: ")],
)
def test_an_engine_that_cannot_be_built_here_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny: Bundle,
    engine: str,
    says: str,
) -> None:
    if engine == "tensorrt" and BACKENDS[engine].unavailable() is None:
        pytest.skip("TensorRT runs here: this is for machines where it needs an NVIDIA GPU")
    assert throng_deploy(monkeypatch, "build", tiny.folder, "--engine", engine) != 0
    _, errors = capsys.readouterr()
    assert errors.startswith(f"throng-deploy: {says}")
    assert errors.count("\n") == 1
