"""RTSP and RTSPS cameras."""

import threading
from collections.abc import Iterator

from service.ingest import Frame, Open, _video
from service.settings import Camera


def _frames(camera: Camera, stop: threading.Event) -> Iterator[Frame]:
    options = {
        "rtsp_transport": camera.transport,
        "protocol_whitelist": "rtsp,rtsps,rtp,rtcp,srtp,tcp,udp,tls,crypto",
    }
    return _video.frames(camera, stop, _video.How(format="rtsp", options=options))


source: Open = _frames
