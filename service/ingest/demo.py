"""The built-in demo: a drawn plaza whose true count is known. `demo`, or `demo:SEED`."""

import math
import time
from collections.abc import Iterator

from models.errors import SourceError
from models.scene import Plaza
from service.ingest import Ask, Frame, Open, Stream, Watch, now

PEOPLE = 90
NAP_S = 0.5  # the rate may change meanwhile


def _frames(ask: Ask, watch: Watch) -> Iterator[Frame]:
    """One picture a count, drawn when it is due."""
    _, _, seed = ask.source.partition(":")
    if seed and not seed.isdigit():
        raise SourceError("a demo's seed is a whole number, as in demo:7")
    width, height = ask.size
    plaza = Plaza(seed=int(seed or 0), size_hw=(height, width), people=PEOPLE)
    watch.stream(Stream("drawn", width, height, fps=None, keyframe_s=None, decoding="all"))
    last_s = -math.inf
    while True:
        left_s = last_s + 1 / watch.rate - time.monotonic()
        if watch.wait(min(max(0.0, left_s), NAP_S)):
            return
        if left_s <= NAP_S:
            watch.packet()
            last_s, captured_at = time.monotonic(), now()
            drawn = plaza.at(last_s)
            yield Frame(drawn.image_HW3, last_s, captured_at, truth=float(drawn.count))


source: Open = _frames
