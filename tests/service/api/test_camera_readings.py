import asyncio
import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.settings import Camera
from tests.fakes import FakeEngine, TestClient, video
from tests.running import free_port, wait_until
from tests.service.api.asking import CANARY, PICTURE, api, parts, problem, read


def test_a_camera_that_is_down_at_the_start_is_connecting_and_the_service_ready(
    tmp_path: Path, engine: FakeEngine
) -> None:
    source = f"rtsp://user:{CANARY}@127.0.0.1:{free_port()}/live?token={CANARY}"
    with api(tmp_path, engine, cameras={"gate": {"source": source}}) as client:
        wait_until(
            lambda: bool(client.get("/v1/cameras/gate").json()["reason"]),
            seconds=15,
            what="the first try to fail",
        )
        assert client.get("/readyz").status_code == 200
        camera = client.get("/v1/cameras/gate").json()
        assert (camera["state"], camera["latest"]) == ("connecting", None)
        missing = client.get("/v1/cameras/gate/latest")
        assert "connecting" in problem(missing, 404, "reading_none")
        seen = [client.get(path).text for path in ("/v1/cameras", "/metrics", "/readyz", "/")]
        assert CANARY not in "".join([*seen, str(camera), missing.text])


def test_a_camera_is_described_with_its_last_reading(client: TestClient) -> None:
    latest = read(client)
    [camera] = client.get("/v1/cameras").json()["cameras"]
    assert camera == client.get("/v1/cameras/gate").json() | {"latest": camera["latest"]}
    assert (camera["id"], camera["state"], camera["rate"]) == ("gate", "live", 30)
    assert camera["zones"] == {"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
    assert set(latest) == {
        *("type", "schema", "camera", "seq", "captured_at", "age_ms", "count", "interval"),
        *("zones", "state", "stale", "fps", "valid"),
    }
    assert (latest["type"], latest["schema"], latest["stale"]) == ("reading", 1, False)
    assert latest["count"] == pytest.approx(4.8, rel=0.05)
    assert latest["zones"]["left"] == pytest.approx(2.4, rel=0.05)
    assert latest["interval"][0] < latest["count"] < latest["interval"][1]


def test_a_camera_is_described_with_all_its_settings_and_no_secret(client: TestClient) -> None:
    address = f"rtsp://user:{CANARY}@127.0.0.1:{free_port()}/a?token={CANARY}"
    entry = {
        "source": address, "view": address, "transport": "udp", "decode": "keyframes",
        "priority": "high", "frozen_after_s": 90, "stale_after_s": 7, "rate": 2,
    }  # fmt: skip
    client.put("/v1/cameras/hall", json=entry)
    hall = client.get("/v1/cameras/hall").json()
    assert set(hall) >= set(Camera.model_fields)
    shown = address.replace(f"user:{CANARY}", "***").partition("/a?")[0] + "/***"
    assert {key: hall[key] for key in entry} == entry | {"source": shown, "view": shown}
    assert CANARY not in str(hall)
    assert client.get("/v1/cameras/gate").json()["view"] is None


@pytest.mark.parametrize(("kind", "format_"), [("png", "PNG"), ("jpg", "JPEG")])
def test_a_camera_has_a_heatmap(client: TestClient, kind: str, format_: str) -> None:
    read(client)
    answer = client.get(f"/v1/cameras/gate/heatmap.{kind}")
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == (format_, (64, 48))
    assert answer.headers["cache-control"] == "no-store"
    assert float(answer.headers["x-throng-age-ms"]) >= 0


def test_a_heatmap_is_drawn_to_its_end_though_its_camera_is_removed_meanwhile(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(client)
    cameras, in_a_thread = parts(client).cameras, asyncio.to_thread

    async def too_late(work: Callable[..., bytes], *given: object) -> bytes:
        cameras.remove("gate")
        return await in_a_thread(work, *given)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "to_thread", too_late)
        assert client.get("/v1/cameras/gate/heatmap.png").status_code == 200
    problem(client.get("/v1/cameras/gate/heatmap.png"), 404, "camera_unknown")


def test_a_camera_has_a_density_map_that_adds_up_to_its_count(client: TestClient) -> None:
    latest = read(client)
    density = np.load(io.BytesIO(client.get("/v1/cameras/gate/density.npy").content))
    assert density.dtype == np.float32
    assert density.sum() == pytest.approx(latest["count"], abs=0.01)


def test_a_camera_has_a_history(client: TestClient) -> None:
    read(client)
    path = "/v1/cameras/gate/history"
    wait_until(
        lambda: len(client.get(path).json()["readings"]) == 2, seconds=10, what="two on disk"
    )
    body = client.get(path).json()
    assert (body["camera"], body["truncated"]) == ("gate", False)
    assert set(body["readings"][0]) == {"captured_at", "count", "interval", "zones"}
    one = client.get(f"{path}?limit=1").json()
    assert (one["readings"], one["truncated"]) == ([body["readings"][1]], True)
    assert client.get(f"{path}?to=2020-01-01T00:00:00").json()["readings"] == []
    since = body["readings"][1]["captured_at"]
    later = client.get(path, params={"from": since}).json()["readings"]
    assert later[-1:] == body["readings"][1:]


def test_a_camera_has_a_history_for_a_spreadsheet(client: TestClient) -> None:
    read(client)
    path = "/v1/cameras/gate/history.csv"
    wait_until(
        lambda: len(client.get(f"{path}?every=1").text.splitlines()) > 1, seconds=10, what="a line"
    )
    answer = client.get(path, params={"every": 86_400})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="gate.csv"'
    days = list(csv.DictReader(answer.text.splitlines()))
    latest = client.get("/v1/cameras/gate/latest").json()
    assert float(days[-1]["lowest"]) <= latest["count"] <= float(days[-1]["highest"])
    assert client.get(path, params={"to": "2020-01-01"}).text.count("\n") == 1


@pytest.mark.parametrize("every", ["0", "-1", "90000", "minute"])
def test_a_stretch_that_makes_no_sense_is_a_problem(client: TestClient, every: str) -> None:
    answer = client.get("/v1/cameras/gate/history.csv", params={"every": every})
    problem(answer, 422, "request_invalid")


@pytest.mark.parametrize(
    "query",
    [
        "to=0001-01-01T00:00:00Z",
        "from=0001-01-01T00:00:00%2B14:00&to=9999-12-31T23:59:59-14:00",
        "from=9999-12-31T23:59:59&to=0001-01-01T00:00:00",
        "to=10000000000",
    ],
)
def test_any_span_of_time_is_answered(client: TestClient, query: str) -> None:
    for file in ("history", "history.csv"):
        assert client.get(f"/v1/cameras/gate/{file}?{query}").status_code == 200


@pytest.mark.parametrize("query", ["from=yesterday", "limit=0", "limit=1000000", "to=1e400"])
def test_a_span_that_makes_no_sense_is_a_problem(client: TestClient, query: str) -> None:
    problem(client.get(f"/v1/cameras/gate/history?{query}"), 422, "request_invalid")


def test_a_history_that_cannot_be_read_is_a_problem_and_counting_goes_on(
    client: TestClient, tmp_path: Path
) -> None:
    read(client)
    file = tmp_path / "data" / "history.sqlite"
    wait_until(
        lambda: "history_written_total 2" in client.get("/metrics").text, seconds=9, what="w"
    )
    for one in file.parent.iterdir():
        one.unlink()
    file.mkdir()
    for path in ("history", "history.csv"):
        problem(client.get(f"/v1/cameras/gate/{path}"), 503, "history_failed")
    assert client.post("/v1/count", content=PICTURE).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/latest",
        "/heatmap.png",
        "/heatmap.jpg",
        "/view.jpg",
        "/density.npy",
        "/history",
        "/history.csv",
    ],
)
def test_a_camera_nobody_knows_is_told_by_its_code(client: TestClient, path: str) -> None:
    problem(client.get(f"/v1/cameras/nobody{path}"), 404, "camera_unknown")


def test_a_stale_reading_says_so_and_is_no_metric_any_more(
    tmp_path: Path, engine: FakeEngine
) -> None:
    file = video(tmp_path / "gate.mp4", [(0, 100), (0.05, 100), (600, 100)])
    gate = {"source": str(file), "rate": 30, "stale_after_s": 0.3}
    with api(tmp_path, engine, cameras={"gate": gate}) as client:
        wait_until(
            lambda: client.get("/v1/cameras/gate").json()["state"] == "stalled",
            seconds=10,
            what="the camera to stall",
        )
        latest = client.get("/v1/cameras/gate/latest").json()
        assert (latest["stale"], latest["state"]) == (True, "stalled")
        assert latest["age_ms"] > 300
        assert "throng_people{" not in client.get("/metrics").text
