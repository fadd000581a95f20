"""Every series this service exports, on one screen. Names carry the unit; labels are few, bounded.

A camera is named by its configured name, never by its address. The names are public: dashboards and
alerts of other people hang on them, so a test freezes the list.
"""

from typing import TypeVar, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from service.readings import Invalid, Reading, State

STATES: tuple[State, ...] = get_args(State)
FAULTS: tuple[Invalid, ...] = get_args(Invalid)
DROPS = ("replaced", "stale", "removed", "late", "corrupt", "busy")
FAILURES = ("engine",)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCHES = (1, 2, 4, 8, 16, 32)

Kind = TypeVar("Kind", Counter, Gauge, Histogram)


class Metrics:
    """Conservation: frames = counted + dropped + failed, apart from the few still on their way."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they are a third more series
        self._of_a_camera: list[Counter | Gauge | Histogram] = []

        def counter(name: str, says: str, *labels: str) -> Counter:
            return self._noted(Counter(name, says, labels, registry=registry), labels)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return self._noted(Gauge(name, says, labels, registry=registry), labels)

        def histogram(
            name: str, says: str, *labels: str, edges: tuple[float, ...] = _SECONDS
        ) -> Histogram:
            made = Histogram(name, says, labels, buckets=edges, registry=registry)
            return self._noted(made, labels)

        self.frames = counter("throng_frames_total", "Frames that were due", "camera")
        self.counted = counter(
            "throng_frames_counted_total", "Frames that became a reading", "camera"
        )
        self.dropped = counter("throng_frames_dropped_total", "Frames given up", "camera", "reason")
        self.failed = counter(
            "throng_frames_failed_total", "Frames that failed", "camera", "reason"
        )
        self.invalid = counter(
            "throng_reading_invalid_total",
            "Readings of pictures that show nothing to count",
            *("camera", "reason"),
        )
        self.reconnects = counter("throng_camera_reconnects_total", "Times reopened", "camera")

        self.fps_actual = gauge(
            "throng_camera_fps_actual", "Counts a second, over 10 s or three periods", "camera"
        )
        self.fps_target = gauge(
            "throng_camera_fps_target", "Counts a second it is allowed now", "camera"
        )
        self.fps_asked = gauge(
            "throng_camera_fps_asked", "Counts a second its settings ask for", "camera"
        )
        self.state = gauge("throng_camera_state", "1 for the state it is in", "camera", "state")
        self.stream_info = gauge(
            "throng_camera_stream_info", "1 for what it sends", "camera", "codec", "decoding"
        )

        self.people = gauge("throng_people", "People in the last fresh, valid reading", "camera")
        self.people_low = gauge("throng_people_low", "Lower end of its interval", "camera")
        self.people_high = gauge("throng_people_high", "Upper end of its interval", "camera")
        self.zone_people = gauge("throng_zone_people", "The same, in a zone", "camera", "zone")
        self.reading_timestamp = gauge(
            "throng_reading_timestamp_seconds",
            "Unix time the last valid reading was captured",
            "camera",
        )

        self.load = gauge("throng_load", "Share of the asked counts that is given, 1 for all")
        self.batch_size = histogram("throng_batch_size", "Frames in a batch", edges=_BATCHES)
        self.queue_wait = histogram("throng_queue_wait_seconds", "A frame's wait for the engine")
        self.inference = histogram("throng_inference_seconds", "One batch in the engine")
        self.end_to_end = histogram("throng_end_to_end_seconds", "Capture to published", "camera")

        self.readers = gauge("throng_readers", "Reader processes now")
        self.reader_crashes = counter("throng_reader_crashes_total", "Reader processes that died")
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
        self.load.set(1)
        self.pictures.labels("ok")

    def _noted(self, made: Kind, labels: tuple[str, ...]) -> Kind:
        if "camera" in labels:
            self._of_a_camera.append(made)
        return made

    def forget(self, camera: str) -> None:
        """Remove every series of a camera; one never seen is fine."""
        for series in self._of_a_camera:
            series.remove_by_labels({"camera": camera})


class CameraSeries:
    """One camera's series, looked up once. Whoever holds it lets go of it with `Metrics.forget`.

    Counters start at zero: rate() cannot see the step from nothing to one.
    """

    def __init__(self, metrics: Metrics, camera: str) -> None:
        self._metrics, self._camera = metrics, camera
        self.frames = metrics.frames.labels(camera)
        self.counted = metrics.counted.labels(camera)
        self.reconnects = metrics.reconnects.labels(camera)
        self.dropped = {reason: metrics.dropped.labels(camera, reason) for reason in DROPS}
        self.failed = {reason: metrics.failed.labels(camera, reason) for reason in FAILURES}
        self.invalid = {fault: metrics.invalid.labels(camera, fault) for fault in FAULTS}
        self.fps_actual = metrics.fps_actual.labels(camera)
        self.fps_target = metrics.fps_target.labels(camera)
        self.fps_asked = metrics.fps_asked.labels(camera)
        self._states = {state: metrics.state.labels(camera, state) for state in STATES}
        self._end_to_end = metrics.end_to_end.labels(camera)
        self._stream: tuple[str, str] | None = None
        self._count: tuple[Gauge, Gauge, Gauge] | None = None
        self._zones: dict[str, Gauge] = {}

    def in_state(self, state: State) -> None:
        if state not in self._states:
            raise ValueError(f"camera state {state!r} is none of {', '.join(STATES)}")
        for one, gauge in self._states.items():
            gauge.set(one == state)

    def show(self, reading: Reading) -> None:
        """Its count if it is valid and fresh. What was under way when its camera went down shows
        none.
        """
        self._end_to_end.observe(reading.age_s)
        if reading.invalid:
            self.invalid[reading.invalid].inc()
            self.withdraw()
            return
        at_s = reading.captured_at.timestamp()
        self._metrics.reading_timestamp.labels(self._camera).set(at_s)
        if reading.state == "live" and not reading.old:
            self._show_count(reading)
        else:
            self.withdraw()

    def _show_count(self, reading: Reading) -> None:
        metrics, camera = self._metrics, self._camera
        if self._count is None:
            self._count = (
                metrics.people.labels(camera),
                metrics.people_low.labels(camera),
                metrics.people_high.labels(camera),
            )
            self._zones = {zone: metrics.zone_people.labels(camera, zone) for zone in reading.zones}
        for gauge, value in zip(self._count, (reading.count, *reading.interval), strict=True):
            gauge.set(value)
        for zone, gauge in self._zones.items():
            gauge.set(reading.zones[zone])

    def withdraw(self) -> None:
        """Take back its count, so that a stale one is a gap in a graph and not a flat line.

        The time of the last reading stays: its age is what tells how long the gap is.
        """
        if self._count is None:
            return
        for series in (self._metrics.people, self._metrics.people_low, self._metrics.people_high):
            series.remove(self._camera)
        for zone in self._zones:
            self._metrics.zone_people.remove(self._camera, zone)
        self._count = None

    def stream(self, codec: str, decoding: str) -> None:
        """One at a time: what it sent before is no longer so."""
        if self._stream == (codec, decoding):
            return
        if self._stream:
            self._metrics.stream_info.remove(self._camera, *self._stream)
        self._stream = codec, decoding
        self._metrics.stream_info.labels(self._camera, codec, decoding).set(1)
