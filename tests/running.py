"""Real servers for tests: started on free ports, awaited with a limit, ended by pid."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Running:
    """A `throng serve` process."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            data: bytes = answer.read()
            return data


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_until(holds: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll a condition; fails with `what` was awaited once the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if holds():
                return
        time.sleep(0.05)
    pytest.fail(f"after {seconds:g} s still waiting for {what}")


@contextlib.contextmanager
def serving(
    folder: Path, *arguments: str, throng: Sequence[str] = ("service",)
) -> Iterator[Running]:
    """`throng serve` with its history and log in `folder`, ready to answer.

    `throng` is the module that is run for it, with what it wants to be told first.
    """
    port, log = free_port(), folder / "serve.log"
    command = [sys.executable, "-m", *throng, "serve", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--data", str(folder / "data"), *arguments],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        running = Running(f"http://127.0.0.1:{port}", process, log)
        try:
            wait_until(
                lambda: process.poll() is not None or b"true" in running.get("/readyz"),
                seconds=30,
                what="the service to be ready",
            )
            assert process.poll() is None, log.read_text()
            yield running
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
