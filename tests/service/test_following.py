"""Editing the settings file while the service runs: the real app, a real file, as it is."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service import following
from service.app import create_app
from service.settings import load_settings
from tests.fakes import FakeEngine, TestClient, bundle
from tests.running import wait_until

DEMO = {"source": "demo", "rate": 10, "size": [128, 64]}


def write(path: Path, cameras: dict[str, Any], **sections: Any) -> None:
    """As careful editors do it: another file takes its place."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"cameras": cameras, **sections}))  # which is YAML, too
    draft.replace(path)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_S", 0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A settings file with two cameras, alone in its folder."""
    path = tmp_path / "etc" / "throng.yaml"
    path.parent.mkdir()
    write(path, {"a": DEMO, "b": DEMO})
    return path


@contextmanager
def served(path: Path) -> Iterator[TestClient]:
    data = path.parent.parent / "data"
    app = create_app(
        load_settings(path), bundle=bundle(), engine=FakeEngine(), data=data, file=path
    )
    with TestClient(app) as client:
        yield client


@pytest.fixture
def edited(path: Path) -> Iterator[tuple[Path, TestClient]]:
    with served(path) as client:
        wait_until(lambda: seq(client, "a") > 0, seconds=20, what="a reading")
        yield path, client


def names(client: TestClient) -> set[str]:
    return {camera["id"] for camera in client.get("/v1/cameras").json()["cameras"]}


def said(client: TestClient) -> str:
    """What `/readyz` says of the settings; nothing in them makes the service not ready."""
    answer = client.get("/readyz")
    assert answer.status_code == 200
    settings: str = answer.json()["settings"]
    return settings


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
    wait_until(lambda: "cameras.c.rate" in said(client), seconds=10, what="the refusal")
    assert names(client) == {"a", "b"}
    write(path, {"a": DEMO})
    wait_until(lambda: names(client) == {"a"}, seconds=10, what="the next edit")
    assert said(client) == "ok"


def test_a_camera_put_by_the_api_survives_an_edit(edited: tuple[Path, TestClient]) -> None:
    path, client = edited
    assert client.put("/v1/cameras/mine", json=DEMO).status_code == 201
    write(path, {"a": DEMO})
    wait_until(lambda: names(client) == {"a", "mine"}, seconds=10, what="the edit")


def test_sections_that_are_read_at_the_start_are_named_until_they_are_as_they_were(
    edited: tuple[Path, TestClient],
) -> None:
    path, client = edited
    cameras = {"a": DEMO, "b": DEMO}
    write(path, cameras, server={"max_cameras": 9}, history={"keep_hours": 1})
    wait_until(lambda: said(client) != "ok", seconds=10, what="the edit")
    assert said(client) == "server, history: edits need a restart of the service"
    write(path, cameras)
    wait_until(lambda: said(client) == "ok", seconds=10, what="the next edit")


def test_a_camera_without_room_is_named_and_comes_in_when_there_is_some(path: Path) -> None:
    write(path, {"a": DEMO}, server={"max_cameras": 2})
    with served(path) as client:
        assert client.put("/v1/cameras/mine", json=DEMO).status_code == 201
        write(path, {"a": DEMO, "c": DEMO}, server={"max_cameras": 2})
        wait_until(lambda: said(client) != "ok", seconds=10, what="the edit")
        assert said(client).startswith("cameras c wait for room: 2 cameras are the limit")
        assert names(client) == {"a", "mine"}
        client.delete("/v1/cameras/mine")
        wait_until(lambda: names(client) == {"a", "c"}, seconds=10, what="camera c")
        assert said(client) == "ok"


def test_cameras_that_are_put_take_the_defaults_of_the_last_edit(path: Path) -> None:
    write(path, {}, defaults={"preview": "clear"})
    with served(path) as client:
        write(path, {"a": DEMO}, defaults={"preview": "none", "stale_after_s": 7})
        wait_until(lambda: names(client) == {"a"}, seconds=10, what="the edit")
        assert client.put("/v1/cameras/mine", json=DEMO).json()["preview"] == "none"
        with client.websocket_connect("/v1/live") as live:
            assert live.receive_json()["stale_after_ms"] == 7000


def test_a_file_that_is_gone_is_told_and_followed_again_when_it_is_back(
    edited: tuple[Path, TestClient],
) -> None:
    path, client = edited
    shutil.rmtree(path.parent)
    wait_until(lambda: "cannot be followed: No such file" in said(client), seconds=10, what="it")
    assert names(client) == {"a", "b"}
    path.parent.mkdir()
    write(path, {"a": DEMO})
    wait_until(lambda: names(client) == {"a"}, seconds=10, what="the edit")
    write(path, {"c": DEMO})
    wait_until(lambda: names(client) == {"c"}, seconds=10, what="the next edit")
    assert said(client) == "ok"


def test_a_file_behind_a_link_is_followed_and_so_is_the_link(path: Path) -> None:
    link, other = path.with_name("link.yaml"), path.parent / "elsewhere" / "other.yaml"
    other.parent.mkdir()
    write(other, {"d": DEMO})
    link.symlink_to(path)
    with served(link) as client:
        write(path, {"c": DEMO})
        wait_until(lambda: names(client) == {"c"}, seconds=10, what="the edit of the file")
        link.unlink()
        link.symlink_to(other)
        wait_until(lambda: names(client) == {"d"}, seconds=10, what="the other file")


def test_a_file_that_is_written_in_place_is_followed(edited: tuple[Path, TestClient]) -> None:
    path, client = edited
    path.write_text(json.dumps({"cameras": {"c": DEMO}}))
    wait_until(lambda: names(client) == {"c"}, seconds=10, what="the edit")


def test_an_edit_that_lacked_a_secret_is_taken_once_the_secret_is_there(path: Path) -> None:
    secret = path.parent / "password"
    with served(path) as client:
        camera = {**DEMO, "source": f"rtsp://u:${{file:{secret}}}@127.0.0.1:1/x"}
        write(path, {"a": DEMO, "b": DEMO, "c": camera})
        wait_until(lambda: "password" in said(client), seconds=10, what="the refusal")
        secret.write_text("c4n4ry")
        wait_until(lambda: "c" in names(client), seconds=10, what="the camera")
        assert said(client) == "ok"


def test_what_the_api_replaced_or_removed_is_named_and_no_edit_undoes_it(path: Path) -> None:
    with served(path) as client:
        wait_until(lambda: said(client) == "ok", seconds=10, what="the file")
        assert client.put("/v1/cameras/a", json={**DEMO, "rate": 3}).status_code == 200
        assert client.delete("/v1/cameras/b").status_code == 204
        named = "cameras a, b: the API has put or removed them, until a restart"
        assert said(client) == named
        write(path, {"a": {**DEMO, "rate": 7}, "b": {**DEMO, "rate": 7}, "c": DEMO})
        wait_until(lambda: "c" in names(client), seconds=10, what="the edit")
        assert names(client) == {"a", "c"}
        assert client.get("/v1/cameras/a").json()["rate"] == 3
        write(path, {"c": DEMO})
        wait_until(lambda: said(client) == "ok", seconds=10, what="the next edit")
        assert names(client) == {"a", "c"}  # who was put stays,
        write(path, {"a": {**DEMO, "rate": 9}, "c": DEMO})
        named = "cameras a: the API has put or removed them, until a restart"
        wait_until(lambda: said(client) == named, seconds=10, what="the last edit")
        assert client.get("/v1/cameras/a").json()["rate"] == 3  # also where the file names it anew
