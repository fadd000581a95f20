"""Our TensorRT calls exist, with our parameter names, in NVIDIA's own bindings of four versions.

Level A reads what the code touches from its syntax tree; level B makes every call, over a native
library that is a stub. Neither needs a GPU, and neither says anything of numerics or speed.
"""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

import deploy.engines.tensorrt
from deploy.engines.tensorrt import calls
from tests.deploy.tensorrt.bindings import WHEELS, ask
from tests.deploy.tensorrt.contract import Touch, as_questions, parameters, touches

PACKAGE = Path(deploy.engines.tensorrt.__file__).parent
TOUCHING = ("calls.py", "callbacks.py")
ALIASES = {"IErrorRecorder.take", "IErrorRecorder.get_num_errors", "ILogger.tail"}  # ours alone
ANSWERED = ("choose_profile", "set_input_shape", "set_address", "execute")

pytestmark = pytest.mark.slow  # the bindings are downloaded once, and imported in a process each


@pytest.fixture(scope="module", params=WHEELS)
def version(request: pytest.FixtureRequest) -> str:
    one: str = request.param
    return one


@pytest.fixture(scope="module")
def stub(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(f"stub-{version}")


@pytest.fixture(scope="module")
def called(version: str, stub: Path) -> dict[str, Any]:
    said: dict[str, Any] = ask("catalogue", version, stub, [])
    return said


def all_touches() -> set[Touch]:
    found = set().union(*(touches((PACKAGE / name).read_text("utf-8")) for name in TOUCHING))
    return {touch for touch in found if touch.path not in ALIASES}


def test_only_two_files_touch_tensorrt() -> None:
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
                assert "tensorrt" not in names or path.name in TOUCHING, path


def test_the_walk_sees_what_the_code_touches() -> None:
    found = {(touch.path, touch.use) for touch in all_touches()}
    assert len(found) > 80
    assert {
        ("IExecutionContext.execute_async_v3", "calls"),
        ("NetworkDefinitionCreationFlag.STRONGLY_TYPED", "has"),
        ("IBuilderConfig.progress_monitor", "sets"),
        ("IProgressMonitor.step_complete", "overrides"),
    } <= found


def test_every_call_names_its_arguments() -> None:
    for touch in all_touches():
        assert touch.positional == 0 or touch.use == "overrides" or "__init__" in touch.path, touch


def test_level_a_all_that_we_touch_is_there(version: str, stub: Path) -> None:
    assert ask("introspect", version, stub, as_questions(all_touches())) == []


def test_level_a_finds_what_is_not_there(version: str, stub: Path) -> None:
    source = """
def old(context: "trt.IExecutionContext", config: "trt.IBuilderConfig"):
    context.execute_async_v2(bindings=[])
    context.execute_async_v3(stream=1)
    context.set_input_shape(tensor="a", shape=())
    config.max_workspace_size = 1
    class Log(trt.ILogger):
        def log(self, severity): ...
"""
    wrong = ask("introspect", version, stub, as_questions(touches(source)))
    for path in ("execute_async_v2", "execute_async_v3", "set_input_shape", "max_workspace", "log"):
        assert any(path in reason for reason in wrong), path


def test_level_b_every_call_passes_the_real_argument_conversion(
    version: str, called: dict[str, Any]
) -> None:
    assert called["version"].startswith(version)
    outcomes: dict[str, str] = called["outcomes"]
    assert [f"{name} {said}" for name, said in outcomes.items() if "refused" in said] == []
    public = {
        name
        for name, one in inspect.getmembers(calls, inspect.isfunction)
        if one.__module__ == calls.__name__
    }
    assert set(outcomes) == public
    assert called["accepted"] == []  # the conversion is real: it refuses what is wrong
    assert called["kinds"]["context"] == "IExecutionContext"
    assert called["kinds"]["engine"] == "ICudaEngine"


def test_a_yes_of_tensorrt_is_true(called: dict[str, Any]) -> None:
    for name in ("parse", "attach_timing_cache", *ANSWERED):
        assert called["outcomes"][name] == "True", name


def test_a_no_of_tensorrt_is_false_or_an_error_that_we_expect(version: str, stub: Path) -> None:
    """In 10.0 a refused profile ends the process, so the lane never asks for one that is not."""
    fatal = ["choose_profile"] if version == "10.0.1" else []
    outcomes = ask("catalogue", version, stub, fatal, says=0)["outcomes"]
    for name in {"parse", "attach_timing_cache", *ANSWERED} - {"choose_profile"}:
        assert outcomes[name] == "False", name
    raised = {name for name, said in outcomes.items() if said.startswith("raised")}
    assert raised <= {"set_range", "choose_profile", "profile_range", "tensor_shape"}
    assert "set_range" in raised


def test_a_tensorrt_that_cannot_start_on_its_gpu_is_an_error_of_ours(
    version: str, stub: Path
) -> None:
    for outcome in ask("starting", version, stub, says=-1):
        assert outcome == "TensorRT cannot start on this GPU: TensorRT gave no reason"


def test_a_network_is_strongly_typed_in_every_version(version: str, called: dict[str, Any]) -> None:
    """The flag's number moved between 10 and 11, where it no longer means anything."""
    assert called["flags"] == (2 if version.startswith("10.") else 0)


def test_call_backs_go_through_c_and_back(version: str, stub: Path) -> None:
    said = ask("roundtrip", version, stub)
    tail, then = said["log"]
    assert tail == "; ".join(
        f"a {severity} of two lines" for severity in ("internal_error", "error", "warning")
    )
    assert then == "TensorRT gave no reason"
    assert said["recorder"] == [
        0, False, 1, "FAILED_ALLOCATION", "no\nroom", False,
        [True, "no room"], [False, "odd"], 0, None,
    ]  # fmt: skip
    assert said["monitor"] == [True, False, True, 6]
    assert said["raising"] is True


@pytest.mark.parametrize(
    ("doc", "names"),
    [
        ("f(self: a.B, x: int = 0, y: dict[str, int] = <C.D: 2>) -> bool", [["self", "x", "y"]]),
        (
            "f(*args, **kwargs)\n1. f(self: A) -> B\n\n2. f(self: A, i: int) -> B",
            [["self"], ["self", "i"]],
        ),
        ("no signature", []),
    ],
)
def test_signatures_are_read_from_docstrings(doc: str, names: list[list[str]]) -> None:
    assert parameters(doc) == names
