"""A running service with one steady camera, and others that come to be hurt."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.camera import PASSWORD, address
from tests.faults.diary import Diary, Entry, listening
from tests.faults.figures import Fault, Figure
from tests.running import Running, serving, wait_until

STEADY = "steady"
RATE = 5.0
CALM_S = 3.0  # of the steady camera, before anything happens
SPAN_S = 6.0  # it is watched at least so long
UNDER_WAY = 4  # frames of one camera between its source and its reading
DEFAULTS: dict[str, Any] = {"rate": RATE, "size": [384, 216]}
PAGES = ("/v1/cameras", "/metrics", "/readyz", "/openapi.json")
PATIENCE_S = 30.0  # with a machine that takes no camera now


@dataclass
class Town:
    running: Running
    diary: Diary

    @property
    def pid(self) -> int:
        return self.running.process.pid

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        request = urllib.request.Request(
            self.running.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10):
            pass

    def put(self, name: str, source: str, **settings: Any) -> None:
        """Asks again where the machine is short of time for a moment, as it is told to."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.send("PUT", f"/v1/cameras/{name}", {**DEFAULTS, **settings, "source": source})
            except urllib.error.HTTPError as refused:
                if refused.code != 503 or time.monotonic() > until_s:
                    raise
                time.sleep(float(refused.headers["Retry-After"]))
            else:
                return

    def delete(self, name: str) -> None:
        self.send("DELETE", f"/v1/cameras/{name}")

    def described(self, name: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.running.get(f"/v1/cameras/{name}"))
        return said

    def samples(self, camera: str) -> dict[tuple[str, str], float]:
        """The series of one camera, by name and by reason or state where it has one."""
        text = self.running.get("/metrics").decode()
        return {
            (one.name, one.labels.get("reason") or one.labels.get("state") or ""): one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
            if one.labels.get("camera") == camera and "le" not in one.labels
        }

    def victim(self, name: str) -> "Victim":
        return Victim(self, name, time.monotonic())

    @contextmanager
    def camera(self, name: str, source: str, **settings: Any) -> Iterator["Victim"]:
        """A camera that is there for one test; what must always hold is checked at its end."""
        victim = self.victim(name)
        self.put(name, source, **settings)
        try:
            yield victim
            victim.check()
        finally:
            self.delete(name)

    def steady(self, start_s: float, end_s: float) -> float:
        """The rate of the steady camera in a span, as a share of what is asked of it."""
        end_s = max(end_s, start_s + SPAN_S)
        return self.diary.rate(STEADY, start_s=start_s, end_s=end_s) / RATE

    def shows_no_password(self) -> None:
        told = {page: self.running.get(page).decode() for page in PAGES}
        told["the log"] = self.running.log.read_text()
        told["the websocket"] = json.dumps([entry.message for entry in list(self.diary.entries)])
        assert [where for where, text in told.items() if PASSWORD in text] == []


@contextmanager
def town(
    folder: Path,
    port: int,
    *,
    server: Mapping[str, Any] | None = None,
    cameras: Mapping[str, Any] | None = None,
    throng: Sequence[str] = ("service",),
) -> Iterator[Town]:
    """A service with the camera at `port` as its steady one.

    `server` and `cameras` are parts of its YAML; `throng` is what runs it.
    """
    tree = {
        "server": dict(server or {}),
        "defaults": DEFAULTS,
        "cameras": {STEADY: {"source": address(port)}, **(cameras or {})},
    }
    config = folder / "throng.yaml"
    config.write_text(yaml.safe_dump(tree))
    with (
        serving(folder, "--config", str(config), throng=throng) as running,
        listening(running.url) as diary,
    ):
        one = Town(running, diary)
        steady = diary.first(lambda: diary.fresh(STEADY), seconds=20, what="the steady camera")
        wait_until(
            lambda: time.monotonic() > steady.at_s + CALM_S + 1, seconds=CALM_S + 2, what="calm"
        )
        yield one
        if running.process.poll() is None:
            one.shows_no_password()


@dataclass
class Victim:
    """A camera that is to be hurt."""

    town: Town
    name: str
    put_s: float
    _away: list[tuple[float, float]] = field(default_factory=list)  # spans where it was not live

    @property
    def state(self) -> str:
        said: str = self.town.described(self.name)["state"]
        return said

    @property
    def reader(self) -> int:
        """The process that reads it."""
        pid: int = self.town.described(self.name)["reader"]
        return pid

    def wait_live(self, *, seconds: float = 20) -> None:
        """Counting for a moment."""
        self.town.diary.first(
            lambda: self.town.diary.fresh(self.name, since_s=self.put_s)[3:],
            seconds=seconds,
            what=f"{self.name} to count",
        )

    def states(self, *wanted: str, since_s: float) -> list[tuple[float, str]]:
        told = self.town.diary.said(self.name, "state", since_s=since_s)
        return [
            (one.at_s, one.message["state"])
            for one in told
            if not wanted or one.message["state"] in wanted
        ]

    def detected(self, fault: Fault, *, since_s: float) -> tuple[float, str]:
        """When it was said that something is wrong, and what; by then its count is not shown."""
        limit_s = (fault.detect_s or 0) + 15
        wait_until(
            lambda: bool(self.states(*fault.shown, since_s=since_s)),
            seconds=limit_s,
            what=f"{self.name} to be {' or '.join(fault.shown)}, not {self.state}",
        )
        self.shows_no_count_unless_live()
        return self.states(*fault.shown, since_s=since_s)[0]

    def explained(self) -> tuple[float, str]:
        """When a reason was first given why it is not live, and the state that came with it."""

        def reasons() -> list[Entry]:
            told = self.town.diary.said(self.name, "state", since_s=self.put_s)
            return [one for one in told if one.message["reason"]]

        told = self.town.diary.first(reasons, seconds=30, what="a reason")
        self.shows_no_count_unless_live()
        return told.at_s, told.message["state"]

    def shows_no_count_unless_live(self) -> None:
        samples = self.town.samples(self.name)
        live = samples["throng_camera_state", "live"] == 1
        assert live or ("throng_people", "") not in samples

    def recovered(self, fault: Fault, *, since_s: float) -> float:
        """When the first fresh count came after the cause had ended."""
        diary = self.town.diary
        return diary.first(
            lambda: diary.fresh(self.name, since_s=since_s),
            seconds=(fault.recover_s or 0) + 15,
            what=f"{self.name} to count again",
        ).at_s

    def suffers(
        self, fault: Fault, *, begin: Callable[[], object], end: Callable[[], object]
    ) -> Figure:
        """A fault that takes it away: from `begin` to the first count after `end`."""
        start_s = time.monotonic()
        begin()
        noticed_s, shown = self.detected(fault, since_s=start_s)
        end()
        end_s = time.monotonic()
        back_s = self.recovered(fault, since_s=end_s)
        self._away.append((noticed_s, end_s))
        return Figure(
            fault,
            shown,
            detected_s=noticed_s - start_s,
            recovered_s=back_s - end_s,
            steady=self.town.steady(start_s, back_s),
        )

    def endures(
        self,
        fault: Fault,
        *,
        begin: Callable[[], object],
        seconds: float,
        end: Callable[[], object] = lambda: None,
    ) -> Figure:
        """A fault with which it is to go on counting."""
        start_s = time.monotonic()
        begin()
        wait_until(
            lambda: time.monotonic() > start_s + seconds, seconds=seconds + 1, what="time to pass"
        )
        end_s = time.monotonic()
        state = self.state
        gap_s = self.town.diary.longest_gap_s(self.name, start_s=start_s, end_s=end_s)
        end()
        back_s = self.recovered(fault, since_s=end_s)
        return Figure(
            fault,
            state,
            recovered_s=back_s - end_s,
            gap_s=gap_s,
            steady=self.town.steady(start_s, back_s),
        )

    def keeps_its_rate(self, rate: float, *, for_s: float) -> None:
        """Within a fifth of `rate` over the last seconds: a wrong clock halves or doubles it."""
        now_s = time.monotonic()
        measured = self.town.diary.rate(self.name, start_s=now_s - for_s, end_s=now_s)
        assert 0.8 * rate < measured < 1.2 * rate, f"{measured:.2f} a second, {rate:g} were asked"

    def check(self) -> None:
        """What holds of every camera, whatever happened to it."""
        diary = self.town.diary
        for noticed_s, end_s in self._away:
            told = [one for one in diary.fresh(self.name, since_s=noticed_s) if one.at_s < end_s]
            assert told == [], "a count was told as fresh while the camera was away"
        self.shows_no_count_unless_live()
        self.frames_are_accounted_for()
        assert PASSWORD not in json.dumps(self.town.described(self.name))
        self.town.shows_no_password()

    def frames_are_accounted_for(self) -> None:
        samples = self.town.samples(self.name)
        ended = sum(
            value
            for (name, _), value in samples.items()
            if name.startswith("throng_frames_") and name not in ("throng_frames_total",)
            and name.endswith("_total")
        )  # fmt: skip
        under_way = samples["throng_frames_total", ""] - ended
        assert 0 <= under_way <= UNDER_WAY, f"{under_way:g} frames are unaccounted for"
