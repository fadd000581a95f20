"""The fake TensorRT in place of the package, for one test."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from deploy.engines.tensorrt import TensorRT, callbacks, cuda
from tests.deploy.tensorrt.fake import FakeGpu, World
from tests.deploy.tensorrt.fake_tensorrt import fake_tensorrt


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    module = fake_tensorrt(world)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(cuda, "no_gpu", lambda: None)
    monkeypatch.setattr(cuda, "card", lambda: cuda.Card("Fake GPU", "9.0", "13000"))
    callbacks.logger.cache_clear()
    yield world
    callbacks.logger.cache_clear()
    assert world.opened == 0  # every hold of the GPU was let go
    assert not world.alive
    assert world.orphans == 0  # and nothing outlived the last of them


@pytest.fixture
def backend(world: World, tmp_path: Path) -> TensorRT:
    return TensorRT(folder=tmp_path / "plans", open_gpu=partial(FakeGpu, world))
