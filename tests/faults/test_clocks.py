"""Time stamps that jump, wrap or are missing; cameras that are very slow or very fast."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path

import av
import pytest

from tests.faults.camera import Camera, address, camera
from tests.faults.clips import FPS, Clips
from tests.faults.conftest import Record
from tests.faults.figures import Fault
from tests.faults.proxy import Harm, Proxy
from tests.faults.town import RATE, Town, town

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seconds", [pytest.param(3600, marks=pytest.mark.long), -3600])
def test_a_jump_of_the_cameras_clock_is_not_noticed(
    shared: Town, steady: Camera, record: Record, seconds: int
) -> None:
    fault = Fault(f"time jump {seconds:+} s", "proxy shifts RTP and RTCP", recover_s=1, gap_s=1)
    with Proxy(steady.port) as proxy, shared.camera(f"jumps{seconds}", address(proxy.port)) as one:
        one.wait_live()
        harm = Harm(jump_s=seconds)
        record(one.endures(fault, begin=lambda: proxy.harm(harm), seconds=5))
        one.keeps_its_rate(RATE, for_s=5)


@pytest.mark.long
def test_time_stamps_that_wrap_are_not_noticed(
    shared: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("time stamps wrap", "proxy, 2^32 passed after 10 s", recover_s=1, gap_s=1)
    with Proxy(steady.port) as proxy:
        proxy.harm(Harm(wrap_in_s=10))
        with shared.camera("wraps", address(proxy.port)) as victim:
            victim.wait_live(seconds=9)
            record(victim.endures(fault, begin=lambda: None, seconds=10))
            victim.keeps_its_rate(RATE, for_s=5)


@pytest.mark.long
def test_a_stream_without_time_stamps_is_counted(
    steady: Camera, clips: Clips, record: Record, tmp_path: Path
) -> None:
    fault = Fault("no time stamps", "bare H.264 over HTTP", recover_s=1, gap_s=1)
    with bare(clips.raw) as source, town(tmp_path, steady.port, cameras={"bare": source}) as one:
        victim = one.victim("bare")
        victim.wait_live()
        record(victim.endures(fault, begin=lambda: None, seconds=6))
        victim.keeps_its_rate(RATE, for_s=5)


@contextmanager
def bare(clip: Path) -> Iterator[dict[str, str]]:
    """A web server that sends H.264 and nothing else, at the pace of the clip; its YAML entry."""
    with av.open(str(clip)) as container:
        coded = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    ended = threading.Event()

    class Sends(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "video/h264")
            self.end_headers()
            try:
                for picture in cycle(coded):
                    self.wfile.write(picture)
                    if ended.wait(1 / FPS):
                        return
            except OSError:
                pass  # nobody listens any more

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002  # as it is named there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Sends) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield {"source": f"http://127.0.0.1:{server.server_port}/camera.h264"}
        ended.set()
        server.shutdown()
        thread.join(5)


@pytest.mark.long
def test_a_camera_with_one_picture_a_second_is_not_called_stalled(
    shared: Town, clips: Clips, record: Record
) -> None:
    fault = Fault("1 picture a second", "server", recover_s=2, gap_s=2.5)
    with (
        camera(clips.plaza, fps=1) as server,
        shared.camera("slow", address(server.port)) as victim,
    ):
        victim.wait_live(seconds=40)
        record(victim.endures(fault, begin=lambda: None, seconds=8))


@pytest.mark.long
def test_a_camera_with_sixty_pictures_a_second_is_counted_as_often_as_asked(
    shared: Town, clips: Clips, record: Record
) -> None:
    fault = Fault("60 pictures a second", "server", recover_s=1, gap_s=1)
    with (
        camera(clips.plaza, fps=60) as server,
        shared.camera("fast", address(server.port)) as victim,
    ):
        victim.wait_live()
        began_s = time.monotonic()
        record(victim.endures(fault, begin=lambda: None, seconds=5))
        victim.keeps_its_rate(RATE, for_s=time.monotonic() - began_s)
