"""Processes: readers hang, crash and outlive nobody; the service ends in time; disks fill."""

import base64
import json
import math
import os
import signal
import socket
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.camera import Camera, address, camera
from tests.faults.clips import Clips
from tests.faults.conftest import Record
from tests.faults.figures import Fault, Figure
from tests.faults.processes import alive, children, held
from tests.faults.proxy import Harm, Proxy
from tests.faults.town import STEADY, Town, town
from tests.running import wait_until

pytestmark = pytest.mark.slow

FLAPPING = 50
LIVE_S = 4.0
OPENS_AT_ONCE = 8
CAMERAS_PER_READER = 8
SLACK = 3 * OPENS_AT_ONCE  # opens under way, and a reader process more or less
GONE = ("down", "stalled", "connecting")


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, steady: Camera) -> Iterator[Town]:
    """A service with a reader process for each camera: what happens to one is seen alone."""
    folder = tmp_path_factory.mktemp("apart")
    with town(folder, steady.port, server={"cameras_per_reader": 1}) as one:
        yield one


@pytest.mark.long
def test_a_reader_that_hangs_is_killed_and_replaced(
    apart: Town, steady: Camera, record: Record
) -> None:
    fault = Fault(
        "reader hung", "SIGSTOP of the reader; recovered: after its end", 10, 5, shown=GONE
    )
    with apart.camera("hangs", address(steady.port)) as victim:
        victim.wait_live()
        pid = victim.reader
        figure = victim.suffers(
            fault,
            begin=lambda: os.kill(pid, signal.SIGSTOP),
            end=lambda: wait_until(
                lambda: not alive(pid), seconds=15, what="the end of the reader"
            ),
        )
        assert victim.reader != pid
        record(figure)


def test_a_reader_that_crashes_is_replaced_and_the_others_go_on(
    apart: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("reader crashed", "SIGSEGV to the reader", 1, 5, shown=GONE)
    with apart.camera("crashes", address(steady.port)) as victim:
        victim.wait_live()
        pid = victim.reader
        other = apart.described(STEADY)["reader"]
        figure = victim.suffers(fault, begin=lambda: os.kill(pid, signal.SIGSEGV), end=lambda: None)
        assert victim.reader != pid
        assert apart.described(STEADY)["reader"] == other
        record(figure)


@pytest.mark.long
def test_a_camera_that_crashes_its_reader_five_times_is_put_aside(
    apart: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("5 crashes", "SIGSEGV to each new reader", shown=("quarantined",))
    with apart.camera("poison", address(steady.port)) as victim:
        began_s, crashed = time.monotonic(), set[int]()

        def crash() -> bool:
            pid = apart.described(victim.name)["reader"]
            if pid is not None and pid not in crashed and alive(pid):
                crashed.add(pid)
                os.kill(pid, signal.SIGSEGV)
            return victim.state == "quarantined"

        wait_until(crash, seconds=100, what="the quarantine")
        assert len(crashed) == 5
        victim.shows_no_count_unless_live()
        now_s = time.monotonic()
        record(
            Figure(
                fault,
                victim.state,
                detected_s=now_s - began_s,
                steady=apart.steady(began_s, now_s),
                note="detected: from the first crash",
            )
        )


def test_no_reader_outlives_a_killed_service(
    tmp_path: Path, steady: Camera, record: Record
) -> None:
    fault = Fault(
        "service killed", "SIGKILL; detected: the last reader is gone", 2, shown=("gone",)
    )
    cameras = {f"more-{number}": {"source": f"demo:{number}"} for number in range(3)}
    server = {"cameras_per_reader": 1}
    with town(tmp_path, steady.port, server=server, cameras=cameras) as one:
        readers = children(one.pid)
        assert len(readers) >= 4
        began_s = time.monotonic()
        one.running.process.kill()
        one.running.process.wait(timeout=5)
        wait_until(lambda: not any(map(alive, readers)), seconds=10, what="the readers to end")
        record(Figure(fault, "gone", detected_s=time.monotonic() - began_s))


@pytest.mark.parametrize(
    ("name", "made", "harm"),
    [
        ("flapping", f"proxy cuts each {LIVE_S:g} s after its first packet", Harm(cut_s=LIVE_S)),
        pytest.param(
            *("refused", "proxy accepts, holds 0.5 s, closes", Harm(refuse=True, hold_s=0.5)),
            marks=pytest.mark.long,
        ),
    ],
)
@pytest.mark.timeout(240)
def test_fifty_cameras_that_come_and_go_open_eight_at_once_and_pile_nothing_up(
    tmp_path: Path, clips: Clips, steady: Camera, record: Record, name: str, made: str, harm: Harm
) -> None:
    fault = Fault(f"50 cameras {name}", made, shown=(*GONE, "live"))
    with (
        camera(clips.plaza) as server,
        Proxy(server.port) as proxy,
        town(tmp_path, steady.port) as one,
    ):
        proxy.harm(harm)
        began_s = time.monotonic()
        flapping = [one.victim(f"flaps-{number}") for number in range(FLAPPING)]
        for each in flapping:
            one.put(each.name, address(proxy.port))
        wait_until(lambda: proxy.accepted >= FLAPPING, seconds=60, what="a first round")
        first = held(one.pid)
        wait_until(lambda: proxy.accepted >= 3 * FLAPPING, seconds=90, what="two more rounds")
        third = held(one.pid)
        state = flapping[0].state
        steady_rate = one.steady(began_s, time.monotonic())

        lived = sum(bool(each.states("live", since_s=began_s)) for each in flapping)
        assert lived == (0 if harm.refuse else FLAPPING)
        assert proxy.most_at_once <= OPENS_AT_ONCE
        assert third.files <= first.files + SLACK  # a pile would be a hundred by now
        assert third.threads <= first.threads + SLACK
        assert third.processes <= 1 + math.ceil((FLAPPING + 1) / CAMERAS_PER_READER)
        note = (
            f"at most {proxy.most_at_once} opens at once, {proxy.accepted} in all; "
            f"{lived} cameras were live now and then"
        )
        record(Figure(fault, state, steady=steady_rate, note=note))


def test_the_service_ends_in_time_whatever_its_cameras_and_clients_do(
    tmp_path: Path, steady: Camera, record: Record
) -> None:
    made = "SIGTERM; a live camera, a dead one, a websocket that never reads"
    fault = Fault("service ended", made, 15, shown=("exit 0",))
    with Proxy(steady.port) as proxy:
        proxy.harm(Harm(stall=True))
        cameras = {"dead": {"source": address(proxy.port)}}
        with town(tmp_path, steady.port, cameras=cameras) as one, deaf(one.running.url):
            readers = children(one.pid)
            began_s = time.monotonic()
            one.running.process.terminate()
            code = one.running.process.wait(timeout=30)
            took_s = time.monotonic() - began_s
            assert not any(map(alive, readers))
    record(Figure(fault, f"exit {code}", detected_s=took_s))


@contextmanager
def deaf(url: str) -> Iterator[None]:
    """A websocket client that asks for heatmaps and never reads what it gets."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect((host, port))
        key = base64.b64encode(os.urandom(16)).decode()
        one.sendall(
            f"GET /v1/live HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            "\r\n".encode()
        )
        assert b"101" in one.recv(64)
        text = json.dumps({"type": "subscribe", "heatmaps": True}).encode()
        one.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)  # masked with zeros
        yield


def test_an_engine_that_raises_is_told_and_counts_again_once_it_works(
    tmp_path: Path, steady: Camera, record: Record
) -> None:
    made = "every inference fails; detected: not ready, no count shown"
    fault = Fault("engine raising", made, 10, 5, shown=("not ready",))
    broken = tmp_path / "broken"
    throng = ("tests.faults.raising", str(broken))
    with town(tmp_path, steady.port, throng=throng) as one:
        victim = one.victim(STEADY)
        began_s = time.monotonic()
        broken.touch()
        wait_until(
            lambda: not ready(one) and ("throng_people", "") not in one.samples(STEADY),
            seconds=20,
            what="the failure to be told",
        )
        noticed_s = time.monotonic()
        assert one.running.get("/healthz")
        assert one.samples(STEADY)["throng_frames_failed_total", "engine"] > 0
        victim.frames_are_accounted_for()
        end_s = time.monotonic()
        broken.unlink()
        back_s = victim.recovered(fault, since_s=end_s)
        wait_until(lambda: ready(one), seconds=5, what="the service to be ready")
        record(Figure(fault, "not ready", noticed_s - began_s, back_s - end_s))


def ready(one: Town) -> bool:
    try:
        return bool(json.loads(one.running.get("/readyz"))["ready"])
    except urllib.error.HTTPError:
        return False


def test_counting_goes_on_while_the_disk_is_full(
    tmp_path: Path, steady: Camera, record: Record
) -> None:
    fault = Fault("disk full", "a tmpfs for --data, filled", 5, 10, shown=("live",))
    with small_disk(tmp_path / "data") as disk, town(tmp_path, steady.port) as one:

        def history() -> str:
            said: str = json.loads(one.running.get("/readyz"))["history"]
            return said

        wait_until(lambda: history() == "ok", seconds=5, what="a history")
        began_s = time.monotonic()
        fill(disk / "filler")
        wait_until(lambda: history() != "ok", seconds=20, what="a degraded history")
        noticed_s = time.monotonic()
        assert json.loads(one.running.get("/readyz"))["ready"]
        steady_rate = one.steady(began_s, noticed_s)
        state = one.described(STEADY)["state"]
        end_s = time.monotonic()
        (disk / "filler").unlink()
        wait_until(lambda: history() == "ok", seconds=20, what="a history again")
        record(
            Figure(
                fault,
                state,
                detected_s=noticed_s - began_s,
                recovered_s=time.monotonic() - end_s,
                steady=steady_rate,
            )
        )


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of two megabytes. Skips where none can be mounted."""
    folder.mkdir()
    command = ("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)


def fill(path: Path) -> None:
    """Until no byte more fits."""
    with path.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass
