"""Every series this service exports, on one screen. Names carry the unit; labels are few, bounded.

A camera is named by its configured name, never by its address. The names are public: dashboards and
alerts of other people hang on them, so a test freezes the list.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

STATES = ("connecting", "live", "stalled", "frozen", "dark", "down", "auth_failed", "quarantined")
DROPS = ("replaced", "stale", "removed")
FAILURES = ("engine",)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCHES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Conservation: frames = counted + dropped + failed, apart from the few still on their way."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(name, says, labels, registry=registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(name, says, labels, registry=registry)

        def seconds(name: str, says: str, *labels: str) -> Histogram:
            return Histogram(name, says, labels, buckets=_SECONDS, registry=registry)

        self.frames = counter("throng_frames_total", "Frames a source gave for counting", "camera")
        self.counted = counter(
            "throng_frames_counted_total", "Frames that became a reading", "camera"
        )
        self.dropped = counter("throng_frames_dropped_total", "Frames given up", "camera", "reason")
        self.failed = counter(
            "throng_frames_failed_total", "Frames that failed", "camera", "reason"
        )
        self.reconnects = counter("throng_camera_reconnects_total", "Times reopened", "camera")

        self.fps = gauge("throng_camera_fps", "Counts a second, over the last 10 s", "camera")
        self.fps_target = gauge("throng_camera_fps_target", "Counts a second asked for", "camera")
        self.state = gauge("throng_camera_state", "1 for the state it is in", "camera", "state")

        self.people = gauge("throng_people", "People in the last fresh reading", "camera")
        self.people_low = gauge("throng_people_low", "Lower end of its interval", "camera")
        self.people_high = gauge("throng_people_high", "Upper end of its interval", "camera")
        self.zone_people = gauge("throng_zone_people", "The same, in a zone", "camera", "zone")
        self.reading_timestamp = gauge(
            "throng_reading_timestamp_seconds", "Unix time the last reading was captured", "camera"
        )

        self.batch_size = Histogram(
            "throng_batch_size", "Frames in a batch", buckets=_BATCHES, registry=registry
        )
        self.queue_wait = seconds("throng_queue_wait_seconds", "A frame's wait for the engine")
        self.inference = seconds("throng_inference_seconds", "One batch in the engine")
        self.end_to_end = seconds("throng_end_to_end_seconds", "Capture to published", "camera")

        self.pictures = counter(
            "throng_pictures_total", "Posted pictures: ok or error code", "code"
        )
        self.history_written = counter("throng_history_written_total", "Readings kept in history")
        self.history_dropped = counter("throng_history_dropped_total", "Readings history lost")
        self.websocket_clients = gauge("throng_websocket_clients", "Listeners connected now")
        self.websocket_dropped = counter(
            "throng_websocket_dropped_total", "Messages a newer one replaced for a slow listener"
        )
        self.model_info = gauge(
            "throng_model_info", "1 for what is running", "bundle", "engine", "precision"
        )

        self._count = (self.people, self.people_low, self.people_high, self.zone_people)
        self._of_a_camera = (
            *(self.frames, self.counted, self.dropped, self.failed, self.reconnects),
            *(self.fps, self.fps_target, self.state, self.reading_timestamp, self.end_to_end),
            *self._count,
        )
        self.pictures.labels("ok")

    def admit(self, camera: str) -> None:
        """Start a camera's counters at zero: rate() cannot see the step from nothing to one."""
        for series in (self.frames, self.counted, self.reconnects):
            series.labels(camera)
        for reason in DROPS:
            self.dropped.labels(camera, reason)
        for reason in FAILURES:
            self.failed.labels(camera, reason)

    def set_state(self, camera: str, state: str) -> None:
        if state not in STATES:
            raise ValueError(f"camera state {state!r} is none of {', '.join(STATES)}")
        for one in STATES:
            self.state.labels(camera, one).set(one == state)

    def withdraw(self, camera: str) -> None:
        """Take back its count, so that a stale one is a gap in a graph and not a flat line.

        The time of the last reading stays: its age is what tells how long the gap is.
        """
        for series in self._count:
            series.remove_by_labels({"camera": camera})

    def forget(self, camera: str) -> None:
        """Remove every series of a camera; one never seen is fine."""
        for series in self._of_a_camera:
            series.remove_by_labels({"camera": camera})
