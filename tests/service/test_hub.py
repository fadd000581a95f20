"""The hub: the newest for everybody, and no count of a camera that is not live."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import anyio
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.guards import Fault
from service.hub import Hub, Seen
from service.ingest import Stream
from service.metrics import Metrics
from service.readings import Reading, State
from tests.fakes import solid

pytestmark = pytest.mark.anyio


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def hub(registry: CollectorRegistry) -> Hub:
    hub = Hub(Metrics(registry))
    hub.admit("gate", rate=2, zones={"left": 1}, stale_after_s=5)
    return hub


def seen(
    count: float, camera: str = "gate", state: State = "live", invalid: Fault | None = None
) -> Seen:
    reading = Reading(
        camera=camera,
        seq=int(count),
        captured_at=datetime.now(UTC),
        captured_s=time.monotonic(),
        count=count,
        interval=(count - 1, count + 1),
        zones={"left": count / 2},
        fps=2.0,
        state=state,
        invalid=invalid,
    )
    return Seen(reading, solid(90, (8, 8)), np.zeros((1, 1), dtype=np.float32), "blur")


def people(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("throng_people", {"camera": "gate"})


async def test_a_slow_listener_gets_the_newest_only_and_the_rest_is_counted(
    hub: Hub, registry: CollectorRegistry
) -> None:
    listener = hub.join()
    for count in (1, 2, 3):
        hub.publish(seen(count))
    assert (await listener.get()).reading.count == 3
    assert registry.get_sample_value("throng_websocket_dropped_total") == 2


async def test_kinds_and_cameras_do_not_replace_each_other_and_keep_their_order(hub: Hub) -> None:
    hub.admit("hall", rate=2, zones={}, stale_after_s=5)
    listener = hub.join()
    hub.tell("gate", "live", "")
    hub.publish(seen(1))
    hub.publish(seen(2, "hall"))
    letters = [await listener.get() for _ in range(3)]
    assert letters[0] == {
        "type": "state", "schema": 1, "camera": "gate", "state": "live", "reason": ""
    }  # fmt: skip
    assert [letter.reading.camera for letter in letters[1:]] == ["gate", "hall"]


async def test_a_camera_that_comes_is_told_with_what_a_page_must_know_of_it(hub: Hub) -> None:
    listener = hub.join()
    hub.admit("hall", rate=0.1, zones={"left": 1}, stale_after_s=30)
    letters = [await listener.get() for _ in range(2)]
    assert letters[1] == {
        "type": "camera", "schema": 1, "camera": "hall", "state": "connecting", "rate": 0.1,
        "zones": ["left"], "stale_after_ms": 30_000,
    }  # fmt: skip


async def test_a_listener_waits_for_its_first_letter(hub: Hub) -> None:
    listener = hub.join()
    got = []

    async def listen() -> None:
        got.append((await listener.get()).reading.count)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await anyio.lowlevel.checkpoint()
            hub.publish(seen(4))
    assert got == [4]


async def test_who_left_is_told_nothing_and_is_not_counted(
    hub: Hub, registry: CollectorRegistry
) -> None:
    one, other = hub.join(), hub.join()
    assert registry.get_sample_value("throng_websocket_clients") == 2
    hub.leave(one)
    hub.leave(one)
    hub.publish(seen(1))
    hub.publish(seen(2))
    assert registry.get_sample_value("throng_websocket_clients") == 1
    assert registry.get_sample_value("throng_websocket_dropped_total") == 1
    assert (await other.get()).reading.count == 2


async def test_leaving_live_withdraws_the_count_and_marks_the_last_reading(
    hub: Hub, registry: CollectorRegistry
) -> None:
    hub.tell("gate", "live", "")
    hub.publish(seen(12))
    assert people(registry) == 12
    hub.tell("gate", "stalled", "no frame for 5 s")
    assert people(registry) is None
    zone = {"camera": "gate", "zone": "left"}
    assert registry.get_sample_value("throng_zone_people", zone) is None
    assert hub.seen["gate"].reading.state == "stalled"
    assert hub.seen["gate"].reading.message()["stale"] is True


async def test_a_frame_counted_after_its_camera_went_down_shows_no_count(
    hub: Hub, registry: CollectorRegistry
) -> None:
    hub.tell("gate", "down", "the file ended")
    hub.publish(seen(12, state="down"))
    assert people(registry) is None
    assert hub.seen["gate"].reading.count == 12


async def test_an_invalid_reading_is_told_and_kept_and_shows_no_count(
    hub: Hub, registry: CollectorRegistry
) -> None:
    hub.tell("gate", "live", "")
    hub.publish(seen(12))
    listener = hub.join()
    hub.publish(seen(13, invalid="black"))
    assert people(registry) is None
    assert hub.seen["gate"].reading.invalid == "black"
    assert (await listener.get()).reading.message()["valid"] is False
    hub.publish(seen(14))
    assert people(registry) == 14


async def test_a_dark_camera_goes_on_being_counted_and_one_that_is_down_does_not(
    hub: Hub, registry: CollectorRegistry
) -> None:
    def fps() -> float | None:
        return registry.get_sample_value("throng_camera_fps_actual", {"camera": "gate"})

    hub.tick("gate")
    hub.tick("gate")
    hub.tell("gate", "dark", "the picture is black")
    assert fps() != 0
    hub.tell("gate", "down", "gone")
    assert fps() == 0


async def test_a_stream_is_told_once_and_remembered(hub: Hub, registry: CollectorRegistry) -> None:
    listener = hub.join()
    first = Stream("h264", 1920, 1080, 25.0, None, "all")
    hub.stream("gate", first)
    hub.stream("gate", first)
    assert await listener.get() == {
        "type": "stream", "schema": 1, "camera": "gate", "codec": "h264", "width": 1920,
        "height": 1080, "fps": 25.0, "keyframe_s": None, "decoding": "all",
    }  # fmt: skip
    hub.stream("gate", Stream("h264", 1920, 1080, 24.987, 2.0011, "keyframes"))
    letter = await listener.get()
    assert (letter["fps"], letter["keyframe_s"], letter["decoding"]) == (24.99, 2.0, "keyframes")
    assert hub.streams["gate"].decoding == "keyframes"
    assert registry.get_sample_value("throng_websocket_dropped_total") == 0


async def test_what_is_asked_stays_while_what_is_allowed_changes(
    hub: Hub, registry: CollectorRegistry
) -> None:
    def rates() -> list[float | None]:
        names = ("throng_camera_fps_asked", "throng_camera_fps_target")
        return [registry.get_sample_value(name, {"camera": "gate"}) for name in names]

    assert rates() == [2, 2]
    hub.target("gate", 0.5)
    assert rates() == [2, 0.5]


async def test_the_same_state_is_told_once(hub: Hub) -> None:
    listener = hub.join()
    hub.tell("gate", "live", "")
    await listener.get()
    hub.tell("gate", "live", "")
    hub.tell("gate", "down", "gone")
    assert (await listener.get())["state"] == "down"


async def test_a_forgotten_camera_leaves_no_series_and_is_announced(
    hub: Hub, registry: CollectorRegistry
) -> None:
    hub.tell("gate", "live", "")
    hub.tick("gate")
    hub.publish(seen(12))
    hub.publish(seen(12, invalid="black"))
    hub.stream("gate", Stream("h264", 1920, 1080, 25.0, 2.0, "all"))
    hub.lost("gate", "late", 3)
    listener = hub.join()
    hub.forget("gate")
    assert (await listener.get())["type"] == "removed"
    assert not hub.seen
    assert not hub.states
    assert not hub.streams
    samples = (sample for family in registry.collect() for sample in family.samples)
    assert not [sample for sample in samples if "camera" in sample.labels]


async def test_a_thousand_cameras_come_and_go_without_a_trace(
    hub: Hub, registry: CollectorRegistry
) -> None:
    def series() -> int:
        return sum(len(family.samples) for family in registry.collect())

    hub.publish(seen(1))
    before = series()
    for index in range(1000):
        hub.admit(f"camera {index}", rate=1, zones={}, stale_after_s=5)
        hub.publish(seen(1, f"camera {index}"))
        hub.forget(f"camera {index}")
    assert series() == before


async def test_all_who_want_a_picture_get_the_one_that_was_drawn(hub: Hub) -> None:
    one = seen(1)
    pictures = await asyncio.gather(*(one.drawn("jpeg", stride=8) for _ in range(9)))
    hub.publish(one)
    hub.tell("gate", "stalled", "no frame for 5 s")
    pictures.append(await hub.seen["gate"].drawn("jpeg", stride=8))
    assert len({id(picture) for picture in pictures}) == 1
    assert await replace(one, preview="none", _drawn={}).drawn("jpeg", stride=8) != pictures[0]
    assert (await one.drawn("png", stride=8)).startswith(b"\x89PNG")


async def test_who_leaves_takes_no_picture_away_from_others() -> None:
    one = seen(1)
    leaves, stays = (one.drawn("jpeg", stride=8) for _ in range(2))
    leaves.cancel()
    assert (await stays).startswith(b"\xff\xd8")


async def test_the_pace_is_counts_a_second_once_there_are_two(
    hub: Hub, registry: CollectorRegistry
) -> None:
    assert hub.tick("gate") == 0
    assert hub.tick("gate") > 0
    assert registry.get_sample_value("throng_camera_fps_actual", {"camera": "gate"}) is not None


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5, 4])
def test_the_pace_of_a_slow_camera_is_its_rate_too(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    hub.target("gate", rate)
    times_s = iter([number / rate for number in range(100)])
    monkeypatch.setattr("service.hub.time", SimpleNamespace(monotonic=lambda: next(times_s)))
    paces = [hub.tick("gate") for _ in range(100)]
    assert paces[1:] == pytest.approx([rate] * 99, rel=0.05)
