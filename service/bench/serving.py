"""`throng serve` as a child process, started and asked as any user would."""

import contextlib
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from models.errors import ConfigError
from service.ingest import kind_of
from service.settings import Settings

START_S = 120.0  # engines that build their plans first take long
STOP_S = 20.0
POLL_S = 0.05
STARTS = 3
ARRIVE_S, GROUPS = 2.0, 8
"""Cameras come in groups, at most so many, over the time from one key frame to the next: clips that
begin together have their key frames together, and so their work, which cameras have not."""


@dataclass(frozen=True)
class Load:
    """What is asked of the service, whatever the number of cameras."""

    sources: Sequence[str]
    rate: float = 2.0
    bundle: str = "throng-m"
    precision: str = "auto"
    decode: str = "auto"

    def settings(self, cameras: int) -> dict[str, Any]:
        """Sources are dealt out in turn."""
        defaults: dict[str, Any] = {"rate": self.rate}
        if self.decode != "auto":
            defaults["decode"] = self.decode
        return {
            "model": {"bundle": self.bundle, "precision": self.precision},
            "server": {"max_cameras": max(cameras, Settings().server.max_cameras)},
            "defaults": defaults,
            "cameras": dict(zip(names(cameras), map(_camera, self._dealt(cameras)), strict=True)),
        }

    def _dealt(self, cameras: int) -> list[str]:
        return [self.sources[number % len(self.sources)] for number in range(cameras)]


@dataclass(frozen=True)
class Service:
    process: subprocess.Popen[bytes]
    address: str
    log: Path

    @property
    def websocket(self) -> str:
        return f"ws://{self.address}/v1/live"

    @property
    def ended(self) -> str:
        """Why, where it has ended."""
        code = self.process.poll()
        return "" if code is None else f"the service ended with {code}: {_last_line(self.log)}"

    def not_live(self) -> dict[str, str]:
        """Cameras that do not live, and their states."""
        cameras = json.loads(self._get("/v1/cameras"))["cameras"]
        return {one["id"]: one["state"] for one in cameras if one["state"] != "live"}

    def counters(self) -> dict[str, float]:
        """Counters by name, summed over cameras; by reason where they have one."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(self._get("/metrics").decode()):
            for sample in family.samples:
                if family.type == "counter" and sample.name.startswith("throng_"):
                    reason = sample.labels.get("reason")
                    key = f"{sample.name}{{{reason}}}" if reason else sample.name
                    sums[key] = sums.get(key, 0.0) + sample.value
        return sums

    def runs(self) -> tuple[str, str]:
        """Engine and precision."""
        ready = json.loads(self._get("/readyz"))
        return ready["engine"], ready["precision"]

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(json.loads(self._get("/readyz"))["ready"])
        return False

    def _get(self, path: str) -> bytes:
        """Raises OSError."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            data: bytes = answer.read()
            return data


def names(cameras: int) -> list[str]:
    return [f"camera-{number:04}" for number in range(cameras)]


@contextmanager
def serving(load: Load, cameras: int) -> Iterator[Service]:
    """Ready to answer; ended with all its children, whatever happens.

    Raises ConfigError with its own words where it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="throng-bench-") as name:
        folder = Path(name)
        config, log = folder / "throng.yaml", folder / "serve.log"
        groups = arriving(config, load.settings(cameras))
        next(groups)
        port = _free_port()
        command = ("serve", "--config", config, "--port", port, "--data", folder / "data")
        with log.open("wb") as output:
            process = subprocess.Popen(
                (sys.executable, "-m", "service", *map(str, command)),
                stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        service = Service(process, f"127.0.0.1:{port}", log)
        try:
            _await_ready(service)
            for _ in groups:
                time.sleep(ARRIVE_S / GROUPS)
            yield service
        finally:
            _stop(process)


def arriving(config: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """The file is written anew with every group."""
    cameras = list(settings["cameras"].items())
    size = math.ceil(len(cameras) / GROUPS)
    for end in range(size, len(cameras) + size, size):
        part = config.with_suffix(".part")
        part.write_text(
            yaml.safe_dump({**settings, "cameras": dict(cameras[:end])}), encoding="utf-8"
        )
        part.replace(config)
        yield


def cold_start_s(load: Load) -> float:
    """From the start of the process to the first count of one camera; the median of three starts.

    Raises ConfigError where the service does not start, or ends without a count.
    """
    return statistics.median(_first_count_s(load) for _ in range(STARTS))


def _first_count_s(load: Load) -> float:
    began_s = time.monotonic()
    with serving(load, 1) as service:
        while not service.counters().get("throng_frames_counted_total"):
            if service.ended or time.monotonic() - began_s > START_S:
                raise ConfigError(f"no count came: {service.ended or 'the camera gives none'}")
            time.sleep(POLL_S)
        return time.monotonic() - began_s


def _await_ready(service: Service) -> None:
    deadline_s = time.monotonic() + START_S
    while not service.ready():
        if service.ended:
            raise ConfigError(f"the service does not start: {_last_line(service.log)}")
        if time.monotonic() > deadline_s:
            raise ConfigError(f"the service is not ready after {START_S:.0f} s")
        time.sleep(POLL_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """In peace if it can; the rest of its session with it in any case."""
    process.terminate()
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _camera(source: str) -> Mapping[str, Any]:
    return {"source": source, "loop": True} if kind_of(source) == "file" else {"source": source}


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("throng: ") if lines else "it said nothing"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
