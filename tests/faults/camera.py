"""Cameras of these tests: `tests/e2e/rtsp_server.py` in a process of its own that may be hurt."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.clips import FPS
from tests.running import ROOT, free_port, wait_until

SYSTEM_PYTHON = "/usr/bin/python3"  # its GStreamer bindings are a Debian package
SERVER = ROOT / "tests" / "e2e" / "rtsp_server.py"
PASSWORD = "hunter-2-canary"
USER = "viewer"


def address(port: int, *, host: str = "127.0.0.1", password: str = PASSWORD) -> str:
    """With a login in it, always: it must never be shown, also where the camera asks for none."""
    return f"rtsp://{USER}:{password}@{host}:{port}/camera"


@dataclass(frozen=True)
class Camera:
    port: int
    process: subprocess.Popen[bytes]

    def play(self, clip: int) -> None:
        """Go on with another clip in the running stream."""
        self._say(f"play {clip}")

    def swap(self, clip: int) -> None:
        """Cut all clients, and serve another clip."""
        self._say(f"swap {clip}")

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()


@contextmanager
def camera(
    *clips: Path,
    port: int = 0,
    fps: float = FPS,
    more: Sequence[str] = (),
    within: Sequence[str] = (),
) -> Iterator[Camera]:
    """An RTSP server of the first clip. Skips where the Debian packages for it are missing.

    `within` is a command that runs it elsewhere, such as `ip netns exec NAME`.
    """
    port = port or free_port()
    log = clips[0].with_name(f"rtsp-{port}.log")
    wanted = (f"--port={port}", f"--fps={fps}", "--control", *more)
    command = [*within, SYSTEM_PYTHON, str(SERVER), *map(str, clips), *wanted]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(
            lambda: process.poll() is not None or "ready" in log.read_text(),
            seconds=15,
            what="the RTSP server",
        )
        if process.poll() == 3:
            pytest.skip(f"no RTSP server (gir1.2-gst-rtsp-server-1.0): {log.read_text().strip()}")
        assert process.poll() is None, log.read_text()
        yield Camera(port, process)
    finally:
        process.kill()
        process.communicate(timeout=10)
