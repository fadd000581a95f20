"""The built-in demo: a drawn plaza whose true count is known. `demo`, or `demo:SEED`."""

import threading
import time
from collections.abc import Iterator

from models.errors import SourceError
from models.scene import Plaza
from service.ingest import Frame, Open, now
from service.settings import Camera

PEOPLE = 90


def _frames(camera: Camera, stop: threading.Event) -> Iterator[Frame]:
    """One picture a count, drawn when it is due."""
    _, _, seed = camera.source.get_secret_value().partition(":")
    if seed and not seed.isdigit():
        raise SourceError("a demo's seed is a whole number, as in demo:7")
    width, height = camera.size
    plaza = Plaza(seed=int(seed or 0), size_hw=(height, width), people=PEOPLE)
    due_s = time.monotonic()
    while not stop.wait(max(0.0, due_s - time.monotonic())):
        due_s = max(due_s + 1 / camera.rate, time.monotonic())
        captured_s, captured_at = time.monotonic(), now()
        drawn = plaza.at(captured_s)
        yield Frame(drawn.image_HW3, captured_s, captured_at, truth=float(drawn.count))


source: Open = _frames
