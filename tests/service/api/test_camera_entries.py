from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeEngine, TestClient
from tests.running import wait_until
from tests.service.api.asking import api, parts, problem, read


@pytest.mark.parametrize("name", ["a b", "..%2Fetc", "%00", "x" * 65, "a%0A", "-", "%C3%A4"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_name_that_is_none_is_refused(client: TestClient, method: str, name: str) -> None:
    body = {"json": {"source": "demo"}} if method == "PUT" else {}
    assert client.request(method, f"/v1/cameras/{name}", **body).status_code in {404, 405, 422}
    assert [one["id"] for one in client.get("/v1/cameras").json()["cameras"]] == ["gate"]


def test_a_camera_can_be_put_replaced_and_deleted(client: TestClient) -> None:
    entry = {"source": "demo:1", "rate": 20, "size": [64, 48]}
    answer = client.put("/v1/cameras/plaza", json=entry)
    assert (answer.status_code, answer.json()["state"]) == (201, "connecting")
    assert read(client, "plaza")["truth"] > 0
    assert client.put("/v1/cameras/plaza", json=entry | {"rate": 10}).status_code == 200
    assert client.get("/v1/cameras/plaza").json()["rate"] == 10
    assert 'camera="plaza"' in client.get("/metrics").text
    answer = client.delete("/v1/cameras/plaza")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(client.get("/v1/cameras/plaza"), 404, "camera_unknown")
    assert 'camera="plaza"' not in client.get("/metrics").text


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "cameras.new.source: "),
        ({"source": "demo", "rat": 1}, "cameras.new.rat: unknown key"),
        ({"source": "demo", "rate": 0}, "cameras.new.rate: "),
        ({"source": "demo", "size": [100_000, 100_000]}, "cameras.new.size.0: "),
        ({"source": ["demo"]}, "cameras.new.source: "),
        ({"source": "rtsp://" + "h" * 2048}, "cameras.new.source: "),
        ({"source": "demo", "view": "rtsp://" + "h" * 2048}, "cameras.new.view: "),
        ({"source": "demo", "stale_after_s": 1e308}, "cameras.new.stale_after_s: "),
        ({"source": "demo", "open_timeout_s": 1e9}, "cameras.new.open_timeout_s: "),
        ({"source": "rtsp://u:${PASSWORD}@camera.test/1"}, "cameras.new.source: ${...} stands for"),
        (
            {"source": "demo", "zones": {"a": {"polygon": [[0.2, 0.5], [0.8, 0.5], [0.5, 0.5]]}}},
            "cameras.new.zones.a.polygon: Value error, the polygon has no area",
        ),
    ],
)
def test_a_bad_entry_is_a_problem_that_names_the_key(
    client: TestClient, entry: dict[str, Any], says: str
) -> None:
    detail = problem(client.put("/v1/cameras/new", json=entry), 422, "settings_invalid")
    assert detail.removeprefix("body: ").startswith(says)


@pytest.mark.parametrize("body", ["", "no json", "[1]", "[" * 50_000, '"text"', "null"])
def test_a_body_that_is_no_entry_is_a_problem(client: TestClient, body: str) -> None:
    answer = client.put("/v1/cameras/new", content=body)
    assert answer.status_code in {400, 422}
    assert answer.json()["code"] in {"request_invalid", "http_400"}


def test_a_body_of_more_than_a_megabyte_is_refused(client: TestClient) -> None:
    for content in (b" " * 1_000_001, iter([b" " * 600_000] * 2)):
        answer = client.put("/v1/cameras/new", content=content)
        assert "at most 1000000 bytes" in problem(answer, 413, "http_413")


def test_cameras_beyond_the_limit_are_refused(tmp_path: Path, engine: FakeEngine) -> None:
    with api(tmp_path, engine, server={"max_cameras": 1}) as client:
        entry = {"source": "demo", "size": [64, 48]}
        assert client.put("/v1/cameras/a", json=entry).status_code == 201
        assert client.put("/v1/cameras/a", json=entry).status_code == 200
        answer = client.put("/v1/cameras/b", json=entry)
        assert "max_cameras" in problem(answer, 503, "overloaded")
        assert "retry-after" in answer.headers


def test_a_short_machine_lets_no_camera_ask_for_more(client: TestClient) -> None:
    entry = {"source": "demo", "size": [64, 48]}
    assert client.put("/v1/cameras/a", json={**entry, "rate": 1}).status_code == 201
    read(client, "a")
    parts(client).pace.capacity = 0.1
    wait_until(lambda: parts(client).pace.load < 0.5, seconds=10, what="the load to be felt")
    for name, rate in (("b", 1), ("a", 1.1)):
        answer = client.put(f"/v1/cameras/{name}", json={**entry, "rate": rate})
        assert "remove some" in problem(answer, 503, "overloaded")
    assert client.get("/v1/cameras/a").json()["rate"] == 1
    assert client.put("/v1/cameras/a", json={**entry, "rate": 0.5}).status_code == 200


def test_a_camera_nobody_knows_cannot_be_deleted(client: TestClient) -> None:
    problem(client.delete("/v1/cameras/nobody"), 404, "camera_unknown")
