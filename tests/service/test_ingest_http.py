"""MJPEG and HLS from a real HTTP server."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest
from pydantic import SecretStr

from models.errors import SourceError
from service.ingest import SOURCES, Frame
from service.settings import Camera
from tests.fakes import encoded, solid

GREYS = (40, 120, 200)


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


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler] | partial[Files]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.ended = threading.Event()  # type: ignore[attr-defined]  # read by Mjpeg
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.ended.set()  # type: ignore[attr-defined]  # as above
        server.shutdown()
        thread.join()
        server.server_close()


def camera(source: str) -> Camera:
    return Camera(source=SecretStr(source), rate=20)


def first(address: str, number: int) -> list[Frame]:
    stop, frames = threading.Event(), []
    for frame in SOURCES["http"](camera(address), stop):
        frames.append(frame)
        if len(frames) == number:
            stop.set()
    return frames


def test_mjpeg_gives_its_pictures_at_the_asked_rate() -> None:
    with serving(Mjpeg) as address:
        frames = first(f"{address}/video.mjpg", 8)
    assert {frame.image_HW3.shape for frame in frames} == {(48, 64, 3)}
    assert {round(float(frame.image_HW3.mean()), -1) for frame in frames} <= set(map(float, GREYS))
    assert frames[-1].captured_s - frames[0].captured_s >= 7 / 20 - 0.06


def test_hls_is_played_at_its_pace_and_its_end_is_no_end_of_the_camera(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "live.m3u8"), "w", format="hls") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index in range(8):
            picture = av.VideoFrame.from_ndarray(solid(120, (48, 64)), format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    frames: list[Frame] = []
    with (
        serving(partial(Files, directory=str(tmp_path))) as address,
        pytest.raises(SourceError, match="the stream ended") as ended,
    ):
        frames.extend(SOURCES["http"](camera(f"{address}/live.m3u8"), threading.Event()))
    assert type(ended.value) is SourceError
    assert len(frames) == 8
    assert frames[-1].captured_s - frames[0].captured_s >= 0.65


def test_a_page_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>Login</h1>")
    with (
        serving(partial(Files, directory=str(tmp_path))) as address,
        pytest.raises(SourceError, match="cannot be opened"),
    ):
        first(f"{address}/index.html", 1)
