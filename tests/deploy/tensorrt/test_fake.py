"""The fake TensorRT has no class, member or parameter that NVIDIA's bindings lack."""

import ast
import enum
from pathlib import Path

import pytest

from tests.deploy.tensorrt import fake_tensorrt
from tests.deploy.tensorrt.bindings import WHEELS, ask
from tests.deploy.tensorrt.contract import Touch, as_questions
from tests.deploy.tensorrt.fake import World


def faked() -> set[Touch]:
    """Each method with its parameters, each public attribute, each member of an enum."""
    found: set[Touch] = set()
    names = {one.__name__ for one in fake_tensorrt.CLASSES}
    for node in ast.parse(Path(fake_tensorrt.__file__).read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name in names:
            found |= methods_of(node) | attributes_of(node)
    module = fake_tensorrt.fake_tensorrt(World())
    for name, one in vars(module).items():
        if isinstance(one, enum.EnumMeta):
            found |= {Touch(f"{name}.{member}", "has") for member in one.__members__}
    return found


def methods_of(node: ast.ClassDef) -> set[Touch]:
    return {
        Touch(f"{node.name}.{one.name}", "calls", tuple(word.arg for word in one.args.args[1:]))
        for one in node.body
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")
    }


def attributes_of(node: ast.ClassDef) -> set[Touch]:
    return {
        Touch(f"{node.name}.{one.attr}", "has")
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute)
        and isinstance(one.ctx, ast.Store)
        and isinstance(one.value, ast.Name)
        and one.value.id == "self"
        and not one.attr.startswith("_")
    }


def test_the_walk_sees_the_fake() -> None:
    paths = {touch.path for touch in faked()}
    assert {
        "IExecutionContext.execute_async_v3", "OnnxParser.num_errors", "BuilderFlag.TF32",
    } <= paths  # fmt: skip
    assert len(paths) > 40


@pytest.mark.slow
@pytest.mark.parametrize("version", WHEELS)
def test_the_fake_is_a_part_of_the_real_one(
    version: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stub = tmp_path_factory.mktemp(f"fake-{version}")
    assert ask("introspect", version, stub, as_questions(faked())) == []
