"""The websocket: hello, then the newest of what was asked for."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from starlette.websockets import WebSocketDisconnect

from service.app import create_app
from service.settings import settings_of
from tests.fakes import FakeEngine, TestClient, WebSocketTestSession, bundle, video
from tests.running import wait_until

Message = dict[str, Any]
QUIET = [(0, 100), (0.1, 100), (600, 100)]
STEADY = [(index * 0.05, 100) for index in range(200)]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """`steady` gives twenty frames a second, `quiet` two frames and then nothing."""
    cameras = {
        "steady": {"source": str(video(tmp_path / "steady.mp4", STEADY)), "rate": 20},
        "quiet": {
            "source": str(video(tmp_path / "quiet.mp4", QUIET)),
            "rate": 30,
            "stale_after_s": 0.4,
        },
    }
    app = create_app(
        settings_of({"cameras": cameras}, "test"),
        bundle=bundle(),
        engine=FakeEngine(),
        data=tmp_path / "data",
    )
    with TestClient(app) as client:
        yield client


@contextlib.contextmanager
def listening(client: TestClient, **wants: Any) -> Iterator[WebSocketTestSession]:
    with client.websocket_connect("/v1/live") as live:
        assert live.receive_json()["type"] == "hello"
        if wants:
            live.send_json({"type": "subscribe", **wants})
        yield live


def first(live: WebSocketTestSession, wanted: Callable[[Message], bool]) -> Message:
    """The first text message that is wanted, within ten seconds."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        message = live.receive()
        if message.get("text") and wanted(found := json.loads(message["text"])):
            assert isinstance(found, dict)
            return found
    pytest.fail("ten seconds without the message")


def readings(live: WebSocketTestSession, seconds: float) -> list[Message]:
    """What `steady` tells in so many seconds of its own time stamps."""
    got = [first(live, lambda one: one["type"] == "reading" and one["camera"] == "steady")]
    began_s = time.monotonic()
    while time.monotonic() - began_s < seconds:
        got.append(first(live, lambda one: one["type"] == "reading"))
    return got


def heatmap(live: WebSocketTestSession) -> tuple[Message, bytes]:
    """The header and the picture of the next one, within ten seconds."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        if data := live.receive().get("bytes"):
            end = 4 + int.from_bytes(data[:4], "big")
            return json.loads(data[4:end]), data[end:]
    pytest.fail("ten seconds without a picture")


def test_hello_comes_first_and_tells_of_the_cameras(client: TestClient) -> None:
    with client.websocket_connect("/v1/live") as live:
        hello = live.receive_json()
    assert set(hello) == {
        "type", "schema", "version", "model", "now", "stale_after_ms", "cameras"
    }  # fmt: skip
    assert (hello["type"], hello["schema"], hello["model"]) == ("hello", 1, "fake")
    assert [one["id"] for one in hello["cameras"]] == ["quiet", "steady"]
    assert set(hello["cameras"][0]) == {
        *("id", "state", "reason", "rate", "zones", "stream", "stale_after_ms")
    }


def test_readings_follow_and_are_what_the_rest_route_says(client: TestClient) -> None:
    with listening(client) as live:
        reading = first(live, lambda one: one["type"] == "reading")
    assert reading["count"] == pytest.approx(4.8, rel=0.05)
    assert set(reading) == set(client.get(f"/v1/cameras/{reading['camera']}/latest").json())


def test_who_comes_late_is_told_the_last_reading_at_once(client: TestClient) -> None:
    wait_until(
        lambda: client.get("/v1/cameras/quiet").json()["state"] == "stalled",
        seconds=10,
        what="the quiet camera to stall",
    )
    with listening(client) as live:
        reading = first(live, lambda one: one["camera"] == "quiet")
    assert (reading["type"], reading["seq"], reading["stale"]) == ("reading", 2, True)


def test_who_asks_for_pictures_is_sent_the_last_ones_at_once(client: TestClient) -> None:
    wait_until(
        lambda: client.get("/v1/cameras/quiet").json()["state"] == "stalled",
        seconds=10,
        what="the quiet camera to stall",
    )
    with listening(client, heatmaps=True) as live:
        headers = [heatmap(live)[0] for _ in range(4)]
    (quiet,) = [one for one in headers if one["camera"] == "quiet"]
    assert quiet["seq"] == 2
    assert quiet["age_ms"] > 400


def test_a_subscription_to_some_cameras_leaves_out_the_others(client: TestClient) -> None:
    client.put("/v1/cameras/other", json={"source": "demo", "rate": 20, "size": [64, 48]})
    with listening(client) as live:
        assert first(live, lambda one: one["type"] == "reading" and one["camera"] == "other")
        live.send_json({"type": "subscribe", "cameras": ["steady"]})
        readings(live, 0.3)  # what was under way before the subscription was read
        assert {one["camera"] for one in readings(live, 0.5)} == {"steady"}


def test_a_subscription_to_nobody_is_kept_quiet_until_the_next(client: TestClient) -> None:
    with listening(client, cameras=[]) as live:
        live.send_json({"type": "subscribe", "cameras": "nonsense"})
        first(live, lambda one: one["type"] == "problem")  # the first one was read before
        time.sleep(0.3)
        live.send_json({"type": "subscribe", "cameras": "nonsense"})
        assert json.loads(live.receive()["text"])["type"] == "problem"
        live.send_json({"type": "subscribe", "cameras": ["steady"]})
        assert first(live, lambda one: one["camera"] == "steady")


def test_no_picture_comes_after_a_subscription_that_wants_none(client: TestClient) -> None:
    with listening(client, heatmaps=True) as live:
        heatmap(live)
        live.send_json({"type": "subscribe", "cameras": [], "heatmaps": True})
        live.send_json({"type": "subscribe", "cameras": [], "heatmaps": False})
        live.send_json({"type": "subscribe", "cameras": "nonsense"})
        first(live, lambda one: one["type"] == "problem")
        time.sleep(0.3)
        live.send_json({"type": "subscribe", "cameras": "nonsense"})
        assert live.receive().get("text")


def test_a_rate_bounds_the_readings(client: TestClient) -> None:
    with listening(client, cameras=["steady"], rate=4) as live:
        numbers = [one["seq"] for one in readings(live, 1.0)]
    assert numbers == sorted(numbers)
    assert len(numbers) <= 7  # of twenty; two may come before the subscription is read


def test_ten_listeners_cost_one_drawing_a_reading(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def encode(ending: str, *args: Any) -> Any:
        drawn.append(ending)
        return imencode(ending, *args)

    imencode = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", encode)
    with contextlib.ExitStack() as stack:
        wants = {"cameras": ["steady"], "heatmaps": True}
        listeners = [stack.enter_context(listening(client, **wants)) for _ in range(10)]
        oldest = readings(listeners[0], 0)[0]["seq"]
        for listener in listeners:
            for _ in range(10):
                heatmap(listener)
        drawings = len(drawn)
        last = client.get("/v1/cameras/steady/latest").json()["seq"]
    assert 10 <= drawings <= last - oldest + 1


def test_a_heatmap_is_a_length_a_header_and_a_jpeg(client: TestClient) -> None:
    with listening(client, cameras=["steady"], heatmaps=True) as live:
        header, picture = heatmap(live)
    assert set(header) == {"type", "camera", "seq", "age_ms", "mime"}
    assert (header["type"], header["camera"], header["mime"]) == ("heatmap", "steady", "image/jpeg")
    assert picture.startswith(b"\xff\xd8")
    assert picture.endswith(b"\xff\xd9")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Invalid JSON"),
        ("hello", "Invalid JSON"),
        ("[" * 30_000, "Invalid JSON"),
        ("[]", "Input should be an object"),
        ('{"type": "unsubscribe"}', "type: "),
        ('{"camera": ["a"]}', "camera: unknown key"),
        ('{"rate": 0}', "rate: "),
        ('{"rate": 1e999}', "rate: "),
        ('{"cameras": "steady"}', "cameras: "),
    ],
)
def test_what_cannot_be_understood_is_answered_and_the_rest_goes_on(
    client: TestClient, text: str, says: str
) -> None:
    with listening(client) as live:
        live.send_text(text)
        problem = first(live, lambda one: one["type"] == "problem")
        assert problem["code"] == "subscribe_invalid"
        assert problem["detail"].startswith(says)
        assert "\n" not in problem["detail"]
        assert first(live, lambda one: one["type"] == "reading")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"\x00" * 1000])
def test_bytes_that_are_no_subscription_are_answered(client: TestClient, data: bytes) -> None:
    with listening(client) as live:
        live.send_bytes(data)
        assert first(live, lambda one: one["type"] == "problem")["code"] == "subscribe_invalid"
        live.send_bytes(b'{"cameras": ["steady"]}')
        assert first(live, lambda one: one["type"] == "reading")


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.test",
        "null",
        "http://testserver.evil.test",
        "http://[",
        "testserver",
        "http://",
    ],
)
def test_a_page_from_elsewhere_may_not_listen(client: TestClient, origin: str) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as caught,
        client.websocket_connect("/v1/live", headers={"origin": origin}),
    ):
        pass
    assert caught.value.code == 1008


def test_our_own_page_may_listen(client: TestClient) -> None:
    with client.websocket_connect("/v1/live", headers={"origin": "http://testserver"}) as live:
        assert live.receive_json()["type"] == "hello"


def test_a_camera_that_stalls_is_told(client: TestClient) -> None:
    with listening(client) as live:
        state = first(live, lambda one: one["type"] == "state" and one["state"] == "stalled")
    assert set(state) == {"type", "schema", "camera", "state", "reason"}
    assert state["camera"] == "quiet"
    assert state["reason"].startswith("no frame for")


def test_cameras_that_come_and_go_are_told(client: TestClient) -> None:
    with listening(client) as live:
        client.put("/v1/cameras/new", json={"source": "demo", "size": [64, 48]})
        camera = first(live, lambda one: one["type"] == "camera")
        assert camera == {
            "type": "camera", "schema": 1, "camera": "new", "state": "connecting", "rate": 2.0,
            "zones": [], "stale_after_ms": 5000,
        }  # fmt: skip
        client.delete("/v1/cameras/new")
        removed = first(live, lambda one: one["type"] == "removed")
        assert removed == {"type": "removed", "schema": 1, "camera": "new"}


def test_listeners_are_counted_while_they_listen(client: TestClient) -> None:
    with listening(client), listening(client):
        assert "throng_websocket_clients 2.0" in client.get("/metrics").text
    wait_until(
        lambda: "throng_websocket_clients 0.0" in client.get("/metrics").text,
        seconds=5,
        what="the listeners to be gone",
    )
