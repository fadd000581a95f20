"""MJPEG and HLS over HTTP(S)."""

import re
from collections.abc import Iterator

from models.errors import SourceEnded, SourceError
from service.ingest import Ask, Frame, Open, Watch, _address, _video


def _frames(ask: Ask, watch: Watch) -> Iterator[Frame]:
    """HLS comes a segment at once, so it is played at the pace of its time stamps."""
    _address.resolve(ask.source, watch)
    playlist = re.split("[?#]", ask.source)[0].endswith(".m3u8")
    options = {"protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto"}
    try:
        yield from _video.frames(ask, watch, _video.How(options=options, live=not playlist))
    except SourceEnded as ended:
        raise SourceError(str(ended)) from ended  # who ended a playlist may begin another


source: Open = _frames
