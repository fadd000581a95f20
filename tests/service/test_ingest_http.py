"""MJPEG and HLS from a real HTTP server, and how a camera that cannot be read is told."""

import contextlib
import socket
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import av
import pytest

from models.errors import SourceError, SourceRefused
from service.ingest import SOURCES, Ask, Frame, kind_of
from tests.fakes import encoded, solid
from tests.running import free_port
from tests.service.clips import serving
from tests.service.watching import Watching, played

GREYS = (40, 120, 200)
CANARY = "c4n4ry"


class Mjpeg(BaseHTTPRequestHandler):
    """Pictures without end, forty a second, as cameras send them."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        pictures = [encoded(solid(grey, (48, 64)), "JPEG") for grey in GREYS]
        while not self.server.ended.is_set():  # type: ignore[attr-defined]  # set by `serving`
            for picture in pictures:
                head = (
                    f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                )
                try:
                    self.wfile.write(head.encode() + picture + b"\r\n")
                except OSError:
                    return
                time.sleep(0.025)

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""


class Locked(Files):
    def do_GET(self) -> None:
        self.send_error(401)


def ask(source: str, **fields: Any) -> Ask:
    return replace(Ask(source, rate=20), **fields)


def test_mjpeg_gives_its_pictures_at_the_asked_rate() -> None:
    with serving(Mjpeg) as address:
        frames, _ = played(ask(f"{address}/video.mjpg"), most=8)
    assert {frame.image_HW3.shape for frame in frames} == {(48, 64, 3)}
    assert {round(float(frame.image_HW3.mean()), -1) for frame in frames} <= set(map(float, GREYS))
    assert frames[-1].captured_s - frames[0].captured_s >= 7 / 20 - 0.06


def test_of_mjpeg_no_more_is_decoded_than_is_asked_for() -> None:
    watch = Watching(4)
    with serving(Mjpeg) as address:
        played(ask(f"{address}/video.mjpg", rate=4), most=6, watch=watch)
    assert watch.packets >= 40
    assert watch.streams[-1].decoding == "keyframes"
    assert watch.streams[-1].codec == "mjpeg"


def test_mjpeg_that_is_read_too_slowly_is_known_to_be_old() -> None:
    """It has no time stamps: what lay in a buffer counts from the last picture that did not."""
    ages, watch = [], Watching(20)

    def slowly(frames: list[Frame], _: Watching) -> None:
        ages.append(time.monotonic() - frames[-1].captured_s)

    watch.slow_s = 0.15
    with serving(Mjpeg) as address:
        played(ask(f"{address}/video.mjpg", max_age_s=0.1), most=6, watch=watch, each=slowly)
    assert max(ages) < 0.1 + 0.05


def test_hls_is_played_at_its_pace_and_its_end_is_no_end_of_the_camera(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "live.m3u8"), "w", format="hls") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index in range(8):
            picture = av.VideoFrame.from_ndarray(solid(120, (48, 64)), format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with serving(partial(Files, directory=str(tmp_path))) as address:
        frames, end = played(ask(f"{address}/live.m3u8"))
    assert end == "SourceError: the stream ended"
    assert len(frames) == 8
    assert frames[-1].captured_s - frames[0].captured_s >= 0.65


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def refusal(source: str) -> SourceError:
    """Why a source cannot be opened; its secrets are not even in the traceback."""
    with pytest.raises(SourceError) as refused:
        list(SOURCES[kind_of(source)](ask(source, open_timeout_s=0.3), Watching(20)))
    assert CANARY not in "".join(traceback.format_exception(refused.value))
    return refused.value


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_camera_that_is_not_there_is_told_by_what_is_wrong(scheme: str) -> None:
    def why(place: str) -> str:
        return str(refusal(f"{scheme}://{CANARY}:{CANARY}@{place}/{CANARY}?{CANARY}"))

    assert why(f"{CANARY}.invalid") == "the name of the camera cannot be resolved"
    assert why(f"127.0.0.1:{free_port()}") == "the camera refuses the connection"
    with silent() as port:
        assert why(f"127.0.0.1:{port}") == "no answer within 0.3 s"


def test_a_stream_that_a_camera_does_not_have_is_told(tmp_path: Path) -> None:
    with serving(partial(Files, directory=str(tmp_path))) as address:
        assert str(refusal(f"{address}/{CANARY}.ts")) == "the camera has no such stream"


def test_a_wrong_login_is_told_apart() -> None:
    with serving(Locked) as address:
        error = refusal(address.replace("://", f"://{CANARY}:{CANARY}@"))
    assert type(error) is SourceRefused
    assert str(error) == "the camera refuses this login"


def test_a_page_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>Login</h1>")
    with serving(partial(Files, directory=str(tmp_path))) as address:
        assert "cannot be opened" in str(refusal(f"{address}/index.html?{CANARY}"))


@pytest.mark.parametrize("source", ["http://[", "http://", "rtsp://:554/x", "http://a..b/"])
def test_an_address_that_is_none_is_told_like_any_other(source: str) -> None:
    refusal(source)
