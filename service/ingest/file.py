"""Video files, played at the pace of their time stamps, once or in a loop."""

from collections.abc import Iterator
from pathlib import Path

from models.errors import SourceError
from service.ingest import Ask, Frame, Open, Watch, _video


def _frames(ask: Ask, watch: Watch) -> Iterator[Frame]:
    if not Path(ask.source).is_file():
        raise SourceError("there is no such file")
    options = {"protocol_whitelist": "file"}
    yield from _video.frames(ask, watch, _video.How(options=options, live=False, loop=ask.loop))


source: Open = _frames
