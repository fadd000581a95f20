"""Run by `bindings.ask`: which touches do not hold in these bindings?"""

from typing import Any

from tests.deploy.tensorrt.bindings import answer
from tests.deploy.tensorrt.contract import wrong


def work(questions: list[dict[str, Any]]) -> list[str]:
    import tensorrt

    return [reason for reason in (wrong(tensorrt, one) for one in questions) if reason]


if __name__ == "__main__":
    answer(work)
