from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FakeEngine, TestClient, video
from tests.service.api.asking import FRAMES, api


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(tmp_path: Path, engine: FakeEngine) -> Iterator[TestClient]:
    """One camera, `gate`, that gives two frames of 4.8 people and then falls silent."""
    file = video(tmp_path / "gate.mp4", FRAMES)
    gate = {
        "source": str(file),
        "rate": 30,
        "preview": "clear",
        "stale_after_s": 60,
        "zones": {"left": {"polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}},
    }
    server = {"max_picture_bytes": 100_000, "max_picture_pixels": 1_000_000, "waiting_pictures": 2}
    with api(tmp_path / "data", engine, server=server, cameras={"gate": gate}) as client:
        yield client
