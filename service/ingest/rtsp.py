"""RTSP and RTSPS cameras."""

from collections.abc import Iterator

from service.ingest import Ask, Frame, Open, Watch, _address, _video


def _frames(ask: Ask, watch: Watch) -> Iterator[Frame]:
    _address.resolve(ask.source, watch)
    options = {
        "rtsp_transport": ask.transport,
        "allowed_media_types": "video",  # the camera need not even send its sound
        "protocol_whitelist": "rtsp,rtsps,rtp,rtcp,srtp,tcp,udp,tls,crypto",
    }
    yield from _video.frames(ask, watch, _video.How(format="rtsp", options=options))


source: Open = _frames
