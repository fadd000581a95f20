"""A camera to test with: serves a clip as live RTSP, over and over: H.264, H.265 or MJPEG.

Run by the system's Python, whose GStreamer bindings pip does not have (Debian packages python3-gi
and gir1.2-gst-rtsp-server-1.0). Prints `ready` once it listens, or `missing` and what, and ends
with code 3. A clip must have no B-frames: its pictures are sent in the order they are stored.

Of several clips the first is sent. With --control, lines on stdin change it: `play N` goes on with
clip N in the running stream (of the same codec), `swap N` cuts all clients and serves clip N.
"""

# ruff: noqa: T201

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

try:
    import gi  # type: ignore[import-not-found]

    for name in ("Gst", "GstApp", "GstRtsp", "GstRtspServer"):
        gi.require_version(name, "1.0")
    from gi.repository import (  # type: ignore[import-not-found]
        GLib,
        Gst,
        GstApp,
        GstRtsp,
        GstRtspServer,
    )
except (ImportError, ValueError) as error:
    print(f"missing: {error}", flush=True)
    sys.exit(3)

ROLE = "viewer"


class Kind(NamedTuple):
    """How one kind of file becomes coded pictures, and these a stream."""

    read: str
    caps: str
    send: str


KINDS = {
    ".mp4": Kind(
        "qtdemux ! h264parse config-interval=-1",
        "video/x-h264,stream-format=byte-stream,alignment=au",
        "h264parse ! rtph264pay",
    ),
    ".hevc": Kind(
        "h265parse config-interval=-1",
        "video/x-h265,stream-format=byte-stream,alignment=au",
        "h265parse ! rtph265pay",
    ),
    ".mjpeg": Kind("jpegparse", "image/jpeg", "jpegparse ! rtpjpegpay"),
}


class Clip(NamedTuple):
    kind: Kind
    coded: list[bytes]


@dataclass
class Reel:
    """What is sent at present; all streams look here before each picture."""

    clip: Clip


def opened(path: str) -> Clip:
    """The coded pictures of a file, parameter sets before each key picture."""
    kind = KINDS[Path(path).suffix]
    pipe = Gst.parse_launch(
        f"filesrc name=file ! {kind.read} ! {kind.caps} ! appsink name=out sync=false"
    )
    pipe.get_by_name("file").set_property("location", path)
    out: GstApp.AppSink = pipe.get_by_name("out")
    pipe.set_state(Gst.State.PLAYING)
    coded: list[bytes] = []
    while sample := out.try_pull_sample(5 * Gst.SECOND):
        buffer = sample.get_buffer()
        coded.append(buffer.extract_dup(0, buffer.get_size()))
    pipe.set_state(Gst.State.NULL)
    if not coded:
        sys.exit(f"no pictures in {path}")
    return Clip(kind, coded)


def live(reel: Reel, fps: float) -> Any:
    """One stream that all clients share: a picture every 1/fps seconds, without end.

    The pictures are pushed by a timer, because a file as the source would end at its end.
    """
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    kind = reel.clip.kind
    factory.set_launch(
        f"( appsrc name=clip is-live=true do-timestamp=true format=time caps={kind.caps} ! "
        f"{kind.send} name=pay0 pt=96 )"
    )

    def begin(_: Any, media: Any) -> None:
        source = media.get_element().get_by_name_recurse_up("clip")
        playing, sent = reel.clip, 0

        def send() -> bool:
            nonlocal playing, sent
            if reel.clip is not playing:
                playing, sent = reel.clip, 0  # from its key picture
            picture = playing.coded[sent % len(playing.coded)]
            sent += 1
            taken = source.emit("push-buffer", Gst.Buffer.new_wrapped(picture))
            return bool(taken == Gst.FlowReturn.OK)  # False ends the timer: nobody watches any more

        GLib.timeout_add(round(1000 / fps), send)

    factory.connect("media-configure", begin)
    return factory


def cut(server: Any) -> None:
    """Close the connections of all clients."""
    server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)


def listen_to_stdin(server: Any, clips: list[Clip], reel: Reel, wanted: argparse.Namespace) -> None:
    """Obey `play N` and `swap N` until stdin ends."""

    def hear(*_: Any) -> bool:
        words = sys.stdin.readline().split()
        if not words:
            return False
        reel.clip = clips[int(words[1])]
        if words[0] == "swap":
            server.get_mount_points().add_factory(wanted.mount, live(reel, wanted.fps))
            cut(server)
        return True

    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN, hear)


def protect(server: Any, factory: Any, user: str, password: str) -> None:
    """Digest login; who has none is answered 401."""
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE)
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_role(ROLE)
    for right in ("ACCESS", "CONSTRUCT"):
        key = getattr(GstRtspServer, f"RTSP_PERM_MEDIA_FACTORY_{right}")
        permissions.add_permission_for_role(ROLE, key, True)
    factory.set_permissions(permissions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", help="MP4 (H.264), .hevc or .mjpeg")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mount", default="/camera")
    parser.add_argument("--fps", type=float, default=10)
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--control", action="store_true", help="obey lines on stdin")
    wanted = parser.parse_args()

    Gst.init(None)
    clips = [opened(file) for file in wanted.files]
    reel = Reel(clips[0])
    server = GstRtspServer.RTSPServer()
    server.set_address(wanted.host)
    server.set_service(str(wanted.port))
    factory = live(reel, wanted.fps)
    if wanted.user:
        protect(server, factory, wanted.user, wanted.password)
    server.get_mount_points().add_factory(wanted.mount, factory)
    if server.attach(None) == 0:
        sys.exit(f"port {wanted.port} cannot be listened on")
    if wanted.control:
        listen_to_stdin(server, clips, reel, wanted)
    print(f"ready: {len(reel.clip.coded)} pictures", flush=True)
    GLib.MainLoop().run()


main()
