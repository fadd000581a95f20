"""`throng` with an engine that fails while a file is there.

python -m tests.faults.raising FILE serve ...
"""

import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from deploy.engines import Engine, Frames, Maps, load_engine
from models.errors import EngineError
from service.__main__ import main
from service.commands import serve


class Failing:
    """Another engine, or its errors."""

    def __init__(self, engine: Engine, broken: Path) -> None:
        self._engine, self._broken = engine, broken
        self.name, self.precision = engine.name, engine.precision
        self.lanes, self.batch = engine.lanes, engine.batch

    def submit(self, frames_NHW3: Frames) -> Future[Maps]:
        if not self._broken.exists():
            return self._engine.submit(frames_NHW3)
        failed: Future[Maps] = Future()
        failed.set_exception(EngineError("the engine is broken, as it was told to be"))
        return failed

    def close(self) -> None:
        self._engine.close()


def run() -> None:
    broken = Path(sys.argv.pop(1))

    def load(*wanted: Any, **more: Any) -> Engine:
        return Failing(load_engine(*wanted, **more), broken)

    serve.load_engine = load  # type: ignore[attr-defined]  # it is imported there
    main()


if __name__ == "__main__":
    run()
