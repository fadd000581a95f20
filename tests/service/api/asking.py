"""REST as a client sees it: the real app, an engine that counts brightness."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.app import create_app
from service.parts import Parts
from service.settings import settings_of
from tests.fakes import FakeEngine, TestClient, bundle, encoded, solid
from tests.running import wait_until
from tests.service.api.contract import contract

CANARY = "c4n4ry"
FRAMES = ((0, 100), (1, 100), (600, 100))  # a second apart: a slow machine, too, counts both
PICTURE = encoded(solid(100, (48, 64)))  # FakeEngine counts 4.8; padding to 64 x 64 is cut off


@contextlib.contextmanager
def api(folder: Path, engine: FakeEngine, **tree: Any) -> Iterator[TestClient]:
    """A running service; each of its answers is held to its /openapi.json."""
    settings = settings_of(tree, "test")
    with TestClient(create_app(settings, bundle=bundle(), engine=engine, data=folder)) as client:
        client.event_hooks = {"response": [contract().holds]}
        yield client
        engine.release()
    assert engine.closed


def read(client: TestClient, camera: str = "gate") -> dict[str, Any]:
    """The camera's second reading, after which nothing changes any more."""
    path = f"/v1/cameras/{camera}/latest"
    wait_until(
        lambda: client.get(path).json().get("seq", 0) >= 2, seconds=20, what="a second reading"
    )
    latest: dict[str, Any] = client.get(path).json()
    return latest


def parts(client: TestClient) -> Parts:
    """What the app runs. Its cameras belong to its event loop."""
    found: Parts = client.app.state.parts  # type: ignore[attr-defined]  # any ASGI app, it thinks
    return found


def problem(answer: Any, status: int, code: str) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    detail: str = body["detail"]
    return detail


def form(*files: bytes, **fields: str) -> dict[str, Any]:
    return {"files": [("picture", ("p", data)) for data in files], "data": fields}
