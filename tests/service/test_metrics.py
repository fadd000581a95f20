"""The exported series are a public surface: a changed name is a changed list, seen in review."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import DROPS, FAULTS, STATES, CameraSeries, Metrics
from service.readings import Reading

FROZEN = {
    "throng_batch_size histogram": [],
    "throng_camera_fps_actual gauge": ["camera"],
    "throng_camera_fps_asked gauge": ["camera"],
    "throng_camera_fps_target gauge": ["camera"],
    "throng_camera_reconnects counter": ["camera"],
    "throng_camera_state gauge": ["camera", "state"],
    "throng_camera_stream_info gauge": ["camera", "codec", "decoding"],
    "throng_end_to_end_seconds histogram": ["camera"],
    "throng_frames counter": ["camera"],
    "throng_frames_counted counter": ["camera"],
    "throng_frames_dropped counter": ["camera", "reason"],
    "throng_frames_failed counter": ["camera", "reason"],
    "throng_history_dropped counter": [],
    "throng_history_written counter": [],
    "throng_inference_seconds histogram": [],
    "throng_load gauge": [],
    "throng_model_info gauge": ["bundle", "engine", "precision"],
    "throng_people gauge": ["camera"],
    "throng_people_high gauge": ["camera"],
    "throng_people_low gauge": ["camera"],
    "throng_pictures counter": ["code"],
    "throng_queue_wait_seconds histogram": [],
    "throng_reader_crashes counter": [],
    "throng_readers gauge": [],
    "throng_reading_invalid counter": ["camera", "reason"],
    "throng_reading_timestamp_seconds gauge": ["camera"],
    "throng_websocket_clients gauge": [],
    "throng_websocket_dropped counter": [],
    "throng_zone_people gauge": ["camera", "zone"],
}
COUNT = {"throng_people", "throng_people_low", "throng_people_high", "throng_zone_people"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


READING = Reading(
    camera="gate",
    seq=1,
    captured_at=datetime.fromtimestamp(1_800_000_000, UTC),
    captured_s=time.monotonic(),
    stale_after_s=3600.0,
    count=40,
    interval=(31, 49),
    zones={"platform": 12},
    fps=1.9,
)


def use(metrics: Metrics, camera: str) -> CameraSeries:
    """Touch every series there is."""
    series = CameraSeries(metrics, camera)
    series.in_state("live")
    series.frames.inc()
    series.stream("h264", "all")
    series.show(READING)
    for histogram in (metrics.batch_size, metrics.queue_wait, metrics.inference):
        histogram.observe(1)
    metrics.model_info.labels("throng-m", "openvino", "int8").set(1)
    return series


def samples_of(registry: CollectorRegistry, camera: str) -> set[str]:
    return {
        sample.name
        for family in registry.collect()
        for sample in family.samples
        if sample.labels.get("camera") == camera
    }


def test_the_series_and_their_labels_are_the_frozen_list(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    use(metrics, "gate")
    exposed = generate_latest(registry).decode()
    exported = {
        f"{family.name} {family.type}": sorted(
            {label for sample in family.samples for label in sample.labels} - {"le"}
        )
        for family in text_string_to_metric_families(exposed)
    }
    assert exported == FROZEN


def test_the_seconds_reach_from_a_millisecond_to_ten_seconds(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.end_to_end.labels("gate").observe(0.8)
    for name in ("throng_queue_wait_seconds", "throng_inference_seconds"):
        for edge in ("0.001", "1.0", "10.0"):
            assert registry.get_sample_value(f"{name}_bucket", {"le": edge}) == 0
    labels = {"camera": "gate", "le": "1.0"}
    assert registry.get_sample_value("throng_end_to_end_seconds_bucket", labels) == 1


def test_a_new_camera_starts_its_counters_at_zero_and_has_no_count(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    CameraSeries(metrics, "gate")
    by_reason = {
        "throng_frames_dropped_total": DROPS,
        "throng_frames_failed_total": ("engine",),
        "throng_reading_invalid_total": FAULTS,
    }
    for name, reasons in by_reason.items():
        for reason in reasons:
            labels = {"camera": "gate", "reason": reason}
            assert registry.get_sample_value(name, labels) == 0
    assert registry.get_sample_value("throng_frames_total", {"camera": "gate"}) == 0
    assert not samples_of(registry, "gate") & {*COUNT, "throng_reading_timestamp_seconds"}


def test_a_machine_without_cameras_is_not_overloaded(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    assert registry.get_sample_value("throng_load") == 1


@pytest.mark.parametrize("state", STATES)
def test_a_camera_is_in_exactly_one_state(
    registry: CollectorRegistry, metrics: Metrics, state: Any
) -> None:
    series = CameraSeries(metrics, "gate")
    series.in_state("connecting")
    series.in_state(state)
    values = {
        one: registry.get_sample_value("throng_camera_state", {"camera": "gate", "state": one})
        for one in STATES
    }
    assert values == {one: float(one == state) for one in STATES}


def test_a_state_nobody_knows_is_refused_and_changes_nothing(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    series = CameraSeries(metrics, "gate")
    series.in_state("live")
    with pytest.raises(ValueError, match="'asleep' is none of connecting"):
        series.in_state(cast("Any", "asleep"))
    labels = {"camera": "gate", "state": "live"}
    assert registry.get_sample_value("throng_camera_state", labels) == 1


def test_withdrawing_takes_the_count_and_its_zones_and_nothing_else(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    series = use(metrics, "gate")
    before = samples_of(registry, "gate")
    for _ in range(2):
        series.withdraw()
        assert before - samples_of(registry, "gate") == COUNT
        assert samples_of(registry, "gate") <= before
    series.show(replace(READING, count=41))
    assert samples_of(registry, "gate") == before
    assert registry.get_sample_value("throng_people", {"camera": "gate"}) == 41


def test_an_invalid_reading_is_counted_by_its_reason_and_takes_the_count_back(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    series = use(metrics, "gate")
    later = datetime.fromtimestamp(1_800_000_060, UTC)
    series.show(replace(READING, captured_at=later, count=7, invalid="covered"))
    assert not samples_of(registry, "gate") & COUNT
    labels = {"camera": "gate", "reason": "covered"}
    assert registry.get_sample_value("throng_reading_invalid_total", labels) == 1
    name = "throng_reading_timestamp_seconds"
    assert registry.get_sample_value(name, {"camera": "gate"}) == 1_800_000_000


def test_a_reading_that_is_old_when_it_comes_shows_no_count(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    series = use(metrics, "gate")
    assert samples_of(registry, "gate") >= COUNT
    series.show(replace(READING, captured_s=time.monotonic() - 6, stale_after_s=5))
    assert not samples_of(registry, "gate") & COUNT


def test_a_camera_sends_one_stream_at_a_time(registry: CollectorRegistry, metrics: Metrics) -> None:
    series = CameraSeries(metrics, "gate")
    for codec, decoding in (
        ("h264", "all"),
        ("h264", "all"),
        ("hevc", "all"),
        ("hevc", "keyframes"),
    ):
        series.stream(codec, decoding)
        (family,) = [one for one in registry.collect() if one.name == "throng_camera_stream_info"]
        wanted = {"camera": "gate", "codec": codec, "decoding": decoding}
        assert [(sample.labels, sample.value) for sample in family.samples] == [(wanted, 1)]


def test_a_forgotten_camera_leaves_no_sample_and_the_others_keep_theirs(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    series = use(metrics, "gate")
    use(metrics, "hall")
    kept = samples_of(registry, "hall")
    metrics.forget("gate")
    series.frames.inc()  # by somebody who has not heard yet
    assert samples_of(registry, "gate") == set()
    assert samples_of(registry, "hall") == kept


def test_a_camera_nobody_knows_can_be_forgotten(metrics: Metrics) -> None:
    metrics.forget("nowhere")
