"""MJPEG and HLS over HTTP(S)."""

import threading
from collections.abc import Iterator

from service.ingest import Frame, Open, _video
from service.settings import Camera


def _frames(camera: Camera, stop: threading.Event) -> Iterator[Frame]:
    options = {"protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto"}
    return _video.frames(camera, stop, _video.How(options=options))


source: Open = _frames
