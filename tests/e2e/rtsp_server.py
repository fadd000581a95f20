"""A camera to test with: serves the H.264 of an MP4 file as live RTSP, over and over.

Run by the system's Python, whose GStreamer bindings pip does not have (Debian packages python3-gi
and gir1.2-gst-rtsp-server-1.0). Prints `ready` once it listens, or `missing` and what, and ends
with code 3. The clip must have no B-frames: its pictures are sent in the order they are stored.
"""

# ruff: noqa: T201

import argparse
import sys
from itertools import cycle
from typing import Any

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

H264 = "video/x-h264,stream-format=byte-stream,alignment=au"
ROLE = "viewer"


def pictures(path: str) -> list[bytes]:
    """The coded pictures of the clip, parameter sets before each key picture."""
    pipe = Gst.parse_launch(
        f"filesrc name=file ! qtdemux ! h264parse config-interval=-1 ! {H264} ! "
        "appsink name=out sync=false"
    )
    pipe.get_by_name("file").set_property("location", path)
    out: GstApp.AppSink = pipe.get_by_name("out")
    pipe.set_state(Gst.State.PLAYING)
    coded: list[bytes] = []
    while sample := out.try_pull_sample(5 * Gst.SECOND):
        buffer = sample.get_buffer()
        coded.append(buffer.extract_dup(0, buffer.get_size()))
    pipe.set_state(Gst.State.NULL)
    return coded


def live(coded: list[bytes], fps: float) -> Any:
    """One stream that all clients share: a picture every 1/fps seconds, without end.

    The pictures are pushed by a timer, because a file as the source would end at its end.
    """
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(
        f"( appsrc name=clip is-live=true do-timestamp=true format=time caps={H264} ! "
        "h264parse ! rtph264pay name=pay0 pt=96 )"
    )

    def begin(_: Any, media: Any) -> None:
        clip = media.get_element().get_by_name_recurse_up("clip")
        left = cycle(coded)

        def send() -> bool:
            sent = clip.emit("push-buffer", Gst.Buffer.new_wrapped(next(left)))
            return bool(sent == Gst.FlowReturn.OK)  # False ends the timer: nobody watches any more

        GLib.timeout_add(round(1000 / fps), send)

    factory.connect("media-configure", begin)
    return factory


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
    parser.add_argument("file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mount", default="/camera")
    parser.add_argument("--fps", type=float, default=10)
    parser.add_argument("--user")
    parser.add_argument("--password")
    wanted = parser.parse_args()

    Gst.init(None)
    coded = pictures(wanted.file)
    if not coded:
        sys.exit(f"no H.264 pictures in {wanted.file}")
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(wanted.port))
    factory = live(coded, wanted.fps)
    if wanted.user:
        protect(server, factory, wanted.user, wanted.password)
    server.get_mount_points().add_factory(wanted.mount, factory)
    if server.attach(None) == 0:
        sys.exit(f"port {wanted.port} cannot be listened on")
    print(f"ready: {len(coded)} pictures", flush=True)
    GLib.MainLoop().run()


main()
