"""H.264 clips, and an HTTP server that plays them as a camera does."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
from av.video.frame import PictureType

from service.ingest import Ask, Frame
from tests.fakes import chequered

FPS = 25
Handler = Callable[..., BaseHTTPRequestHandler]


def clip(
    path: Path, seconds: float, *, gop: int, fps: int = FPS,
    size_hw: tuple[int, int] = (48, 64), options: Mapping[str, str] | None = None,
    keys: Collection[int] = (),
) -> Path:  # fmt: skip
    """Picture number n is of grey 40 + n % 180; a key frame every `gop` pictures, and of `keys`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = size_hw
        stream.pix_fmt = "yuv420p"
        fixed = {"preset": "ultrafast", "tune": "zerolatency", "crf": "10", "sc_threshold": "0"}
        stream.options = {**fixed, "g": str(gop), "keyint_min": str(gop), **(options or {})}
        for number in range(round(seconds * fps)):
            image_HW3 = chequered(40 + number % 180, size_hw)
            picture = av.VideoFrame.from_ndarray(image_HW3, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, fps)
            if number in keys:
                picture.pict_type = PictureType.I
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def ask(source: Path | str, **fields: Any) -> Ask:
    return replace(Ask(str(source), size=(64, 48), rate=FPS), **fields)


def numbers(frames: list[Frame]) -> list[int]:
    """Which picture of a clip each frame shows."""
    return [round(float(frame.image_HW3.mean())) - 40 for frame in frames]


class Live(BaseHTTPRequestHandler):
    """A camera: /SECONDS/NAME sends a clip as MPEG-TS at its pace, the first SECONDS at once."""

    def do_GET(self) -> None:
        _, head, name = self.path.split("/")
        self.send_response(200)
        self.end_headers()
        try:
            self._send(self.server.folder / name, float(head))  # type: ignore[attr-defined]  # set by `serving`
        except OSError:
            self.close_connection = True  # who watched has gone

    def _send(self, path: Path, head_s: float) -> None:
        options = {"flush_packets": "1"}
        with (
            av.open(str(path)) as stored,
            av.open(self.wfile, "w", format="mpegts", options=options) as sent,
        ):
            stream = sent.add_stream_from_template(stored.streams.video[0])
            zero_s = time.monotonic() - head_s
            for packet in stored.demux(video=0):
                at_s = zero_s + float((packet.dts or 0) * packet.time_base)
                ended = self.server.ended  # type: ignore[attr-defined]  # set by `serving`
                if not packet.size or ended.wait(max(0.0, at_s - time.monotonic())):
                    return
                packet.stream = stream
                sent.mux(packet)

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""


@contextmanager
def serving(handler: Handler, folder: Path = Path()) -> Iterator[str]:
    """The address of a server on a free port; its handlers know its `folder` and `ended`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.folder, server.ended = folder, threading.Event()  # type: ignore[attr-defined]  # for handlers
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.ended.set()  # type: ignore[attr-defined]  # as above
        server.shutdown()
        thread.join()
        server.server_close()
