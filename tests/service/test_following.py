"""Editing the settings file while the service runs: the real app, a real file, a real watcher."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.settings import load_settings
from tests.fakes import FakeEngine, TestClient, bundle
from tests.running import wait_until

DEMO = {"source": "demo", "rate": 10, "size": [128, 64]}


def write(path: Path, cameras: dict[str, Any]) -> None:
    """As careful editors do it: another file takes its place."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"cameras": cameras}))  # which is YAML, too
    draft.replace(path)


@pytest.fixture
def edited(tmp_path: Path) -> Iterator[tuple[Path, TestClient]]:
    path = tmp_path / "throng.yaml"
    write(path, {"a": DEMO, "b": DEMO})
    app = create_app(
        load_settings(path), bundle=bundle(), engine=FakeEngine(), data=tmp_path, file=path
    )
    with TestClient(app) as client:
        wait_until(lambda: seq(client, "a") > 0, seconds=20, what="a reading")
        yield path, client


def names(client: TestClient) -> set[str]:
    return {camera["id"] for camera in client.get("/v1/cameras").json()["cameras"]}


def seq(client: TestClient, name: str) -> int:
    return int(client.get(f"/v1/cameras/{name}/latest").json().get("seq", 0))


def test_cameras_come_and_go_with_the_file_and_the_others_run_on(
    edited: tuple[Path, TestClient],
) -> None:
    path, client = edited
    before = seq(client, "a")
    write(path, {"a": DEMO, "c": {**DEMO, "rate": 5}})
    wait_until(lambda: names(client) == {"a", "c"}, seconds=10, what="the edit")
    assert seq(client, "a") >= before
    assert 'camera="b"' not in client.get("/metrics").text


def test_a_changed_entry_starts_that_camera_anew(edited: tuple[Path, TestClient]) -> None:
    path, client = edited
    write(path, {"a": {**DEMO, "rate": 7}, "b": DEMO})
    wait_until(lambda: client.get("/v1/cameras/a").json()["rate"] == 7, seconds=10, what="the edit")


def test_a_bad_edit_is_refused_as_a_whole_and_said(edited: tuple[Path, TestClient]) -> None:
    path, client = edited
    write(path, {"a": DEMO, "c": {**DEMO, "rate": -1}})
    wait_until(
        lambda: "cameras.c.rate" in json.dumps(client.get("/readyz").json()),
        seconds=10,
        what="the refusal",
    )
    assert names(client) == {"a", "b"}
    assert client.get("/readyz").status_code == 200
    write(path, {"a": DEMO})
    wait_until(lambda: names(client) == {"a"}, seconds=10, what="the next edit")
    assert client.get("/readyz").json()["settings"] == "ok"


def test_a_camera_put_by_the_api_survives_an_edit(edited: tuple[Path, TestClient]) -> None:
    path, client = edited
    assert client.put("/v1/cameras/mine", json=DEMO).status_code == 201
    write(path, {"a": DEMO})
    wait_until(lambda: names(client) == {"a", "mine"}, seconds=10, what="the edit")
