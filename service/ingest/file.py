"""Video files, played at the pace of their time stamps, once or in a loop."""

import threading
from collections.abc import Iterator
from pathlib import Path

from models.errors import SourceEnded, SourceError
from service.ingest import Frame, Open, _video
from service.settings import Camera


def _frames(camera: Camera, stop: threading.Event) -> Iterator[Frame]:
    if not Path(camera.source.get_secret_value()).is_file():
        raise SourceError("there is no such file")
    how = _video.How(options={"protocol_whitelist": "file"}, live=False)
    while True:
        try:
            yield from _video.frames(camera, stop, how)
        except SourceEnded:
            if not camera.loop:
                raise
        if stop.is_set():
            return


source: Open = _frames
