"""MJPEG and HLS over HTTP(S)."""

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from models.errors import SourceEnded, SourceError
from service.ingest import Frame, Open, _video
from service.settings import Camera


def _frames(camera: Camera, stop: threading.Event) -> Iterator[Frame]:
    """HLS comes a segment at once, so it is played at the pace of its time stamps."""
    playlist = urlsplit(camera.source.get_secret_value()).path.endswith(".m3u8")
    options = {"protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto"}
    try:
        yield from _video.frames(camera, stop, _video.How(options=options, live=not playlist))
    except SourceEnded as ended:
        raise SourceError(str(ended)) from ended  # who ended a playlist may begin another


source: Open = _frames
