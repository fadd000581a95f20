"""The clips, the steady camera, the service that faults happen in, and the record of figures."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.camera import Camera, camera
from tests.faults.clips import Clips, drawn
from tests.faults.figures import Figure, dump
from tests.faults.town import Town, town

Record = Callable[[Figure], None]


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return drawn(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def steady(clips: Clips) -> Iterator[Camera]:
    """A camera that nothing happens to."""
    with camera(clips.plaza) as one:
        yield one


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, steady: Camera) -> Iterator[Town]:
    """A service whose cameras share a reader process."""
    with town(tmp_path_factory.mktemp("shared"), steady.port) as one:
        yield one


@pytest.fixture(scope="session")
def record() -> Iterator[Record]:
    """Keeps a figure, also one that is over its limit, and then fails for that.

    The figures go to the file that THRONG_FAULT_FIGURES names.
    """
    figures: list[Figure] = []

    def keep(figure: Figure) -> None:
        figures.append(figure)
        figure.check()

    yield keep
    if path := os.environ.get("THRONG_FAULT_FIGURES"):
        dump(figures, Path(path))
