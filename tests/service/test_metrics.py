"""The exported series are a public surface: a changed name is a changed list, seen in review."""

import pytest
from prometheus_client import CollectorRegistry

from service.metrics import STATES, Metrics

FROZEN = {
    "throng_batch_size histogram": [],
    "throng_camera_fps gauge": ["camera"],
    "throng_camera_fps_target gauge": ["camera"],
    "throng_camera_reconnects counter": ["camera"],
    "throng_camera_state gauge": ["camera", "state"],
    "throng_end_to_end_seconds histogram": ["camera"],
    "throng_frames counter": ["camera"],
    "throng_frames_counted counter": ["camera"],
    "throng_frames_dropped counter": ["camera", "reason"],
    "throng_frames_failed counter": ["camera", "reason"],
    "throng_history_dropped counter": [],
    "throng_history_written counter": [],
    "throng_inference_seconds histogram": [],
    "throng_model_info gauge": ["bundle", "engine", "precision"],
    "throng_people gauge": ["camera"],
    "throng_people_high gauge": ["camera"],
    "throng_people_low gauge": ["camera"],
    "throng_pictures counter": ["code"],
    "throng_queue_wait_seconds histogram": [],
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


def use(metrics: Metrics, camera: str) -> None:
    """Touch every series there is."""
    metrics.admit(camera)
    metrics.set_state(camera, "live")
    for counter in (metrics.frames, metrics.counted, metrics.reconnects):
        counter.labels(camera).inc()
    metrics.dropped.labels(camera, "stale").inc()
    metrics.failed.labels(camera, "engine").inc()
    metrics.fps.labels(camera).set(1.9)
    metrics.fps_target.labels(camera).set(2)
    metrics.people.labels(camera).set(40)
    metrics.people_low.labels(camera).set(31)
    metrics.people_high.labels(camera).set(49)
    metrics.zone_people.labels(camera, "platform").set(12)
    metrics.reading_timestamp.labels(camera).set(1_800_000_000)
    metrics.end_to_end.labels(camera).observe(0.08)
    for histogram in (metrics.batch_size, metrics.queue_wait, metrics.inference):
        histogram.observe(1)
    metrics.pictures.labels("ok").inc()
    metrics.history_written.inc()
    metrics.history_dropped.inc()
    metrics.websocket_clients.set(1)
    metrics.websocket_dropped.inc()
    metrics.model_info.labels("throng-m", "openvino", "int8").set(1)


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
    exported = {
        f"{family.name} {family.type}": sorted(
            {label for sample in family.samples for label in sample.labels} - {"le"}
        )
        for family in registry.collect()
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


def test_an_admitted_camera_starts_its_counters_at_zero(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.admit("gate")
    for reason in ("replaced", "stale", "removed"):
        labels = {"camera": "gate", "reason": reason}
        assert registry.get_sample_value("throng_frames_dropped_total", labels) == 0
    assert registry.get_sample_value("throng_frames_total", {"camera": "gate"}) == 0
    assert registry.get_sample_value("throng_people", {"camera": "gate"}) is None


def test_admitting_a_camera_again_keeps_what_it_counted(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    use(metrics, "gate")
    metrics.admit("gate")
    assert registry.get_sample_value("throng_frames_total", {"camera": "gate"}) == 1


@pytest.mark.parametrize("state", STATES)
def test_a_camera_is_in_exactly_one_state(
    registry: CollectorRegistry, metrics: Metrics, state: str
) -> None:
    metrics.set_state("gate", "connecting")
    metrics.set_state("gate", state)
    values = {
        one: registry.get_sample_value("throng_camera_state", {"camera": "gate", "state": one})
        for one in STATES
    }
    assert values == {one: float(one == state) for one in STATES}


def test_a_state_nobody_knows_is_refused_and_changes_nothing(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.set_state("gate", "live")
    with pytest.raises(ValueError, match="'asleep' is none of connecting"):
        metrics.set_state("gate", "asleep")
    labels = {"camera": "gate", "state": "live"}
    assert registry.get_sample_value("throng_camera_state", labels) == 1


def test_withdrawing_takes_the_count_and_its_zones_and_nothing_else(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    use(metrics, "gate")
    before = samples_of(registry, "gate")
    metrics.withdraw("gate")
    assert before - samples_of(registry, "gate") == COUNT
    assert samples_of(registry, "gate") <= before


def test_a_forgotten_camera_leaves_no_sample_and_the_others_keep_theirs(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    use(metrics, "gate")
    use(metrics, "hall")
    kept = samples_of(registry, "hall")
    metrics.forget("gate")
    assert samples_of(registry, "gate") == set()
    assert samples_of(registry, "hall") == kept


def test_a_camera_nobody_knows_can_be_withdrawn_and_forgotten(metrics: Metrics) -> None:
    metrics.withdraw("nowhere")
    metrics.forget("nowhere")
