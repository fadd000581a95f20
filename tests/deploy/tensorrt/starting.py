"""Run by `bindings.ask`: what our code says of a TensorRT that cannot start on its GPU."""

from collections.abc import Callable
from pathlib import Path

from deploy.engines.tensorrt import build
from deploy.engines.tensorrt.lane import Plan
from deploy.engines.tensorrt.plans import Facts, profiles
from models.errors import EngineError
from tests.deploy.tensorrt.bindings import answer

FACTS = Facts(onnx="", precision="fp32", tensorrt="", gpu="", driver="", profiles=profiles(16))


def work(_: object) -> list[str]:
    return [
        _refusal(lambda: build._plan(b"onnx", FACTS, timings=Path(), monitor=None)),
        _refusal(lambda: Plan.load(b"plan")),
    ]


def _refusal(start: Callable[[], object]) -> str:
    try:
        start()
    except EngineError as error:
        return str(error)
    return "nothing was refused"


if __name__ == "__main__":
    answer(work)
