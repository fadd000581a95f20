import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.fakes import TestClient
from tests.service.api.asking import problem


@pytest.fixture
def canary() -> Iterator[tuple[int, list[str]]]:
    """A port that notes who connects."""
    callers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    callers.append("somebody")
                    connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        port: int = server.getsockname()[1]
        yield port, callers
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


HOSTILE = """
    file:///etc/passwd|/etc/passwd|etc/passwd|../../etc/passwd|~/x|/dev/video0|/dev/stdin|pipe:0|fd:0
    file:/etc/passwd|FILE:///etc/passwd|concat:/etc/passwd%7C/etc/passwd|concatf:/x|async:/etc/passwd
    subfile,,start,0,end,99,,:/etc/passwd|crypto:/etc/passwd|cache:/etc/passwd|data:video/mp4;base64,AA
    http://HERE/|https://HERE/|HTTP://HERE/|httpproxy://HERE/|tcp://HERE|udp://HERE|tls://HERE
    rtmp://HERE/x|rtp://HERE|srt://HERE|ftp://HERE/x|gopher://HERE/x|sftp://HERE/x|unix:/tmp/x|mmsh://HERE
    lavfi:testsrc|testsrc|ipfs://x|hls+http://HERE/a.m3u8|hls+file:///x|icecast://HERE|sctp://HERE
    rtsp+http://HERE/|demos|DEMO|Demo:1|srtp://HERE|amqp://HERE|zmq:tcp://HERE|v4l2:///dev/video0
"""


def hostile(port: int) -> list[str]:
    listed = [one for line in HOSTILE.split() for one in line.split("|")]
    odd = ["", " ", "\x00", " rtsp://HERE/", "\trtsp://HERE/", "rt\nsp://HERE/", "rtsp\n://HERE/",
           "rtsp//HERE/", "//HERE/", "rtsp", "{}", "http://[", "rtsp：//HERE/"]  # fmt: skip
    return [one.replace("HERE", f"127.0.0.1:{port}").replace("%7C", "|") for one in listed + odd]


def test_no_hostile_address_is_taken_and_nobody_is_called(
    client: TestClient, canary: tuple[int, list[str]]
) -> None:
    port, callers = canary
    addresses = hostile(port)
    assert len(addresses) > 60
    for address in addresses:
        answer = client.put("/v1/cameras/evil", json={"source": address})
        says = problem(answer, 422, "settings_invalid")
        assert any(why in says for why in ("only rtsp", "begin with rtsp", "printable")), address
        assert str(port) not in answer.text
    assert [one["id"] for one in client.get("/v1/cameras").json()["cameras"]] == ["gate"]
    assert callers == []


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://[",
        "rtsp://h:99999/",
        "rtsp://:x@/",
        "rtsp:",
        "rtsp:/etc/passwd",
        "rtsp://h\x00/",
        "rtsp://é",
    ],
)
def test_an_odd_rtsp_address_never_breaks_the_service(client: TestClient, source: str) -> None:
    answer = client.put("/v1/cameras/odd", json={"source": source})
    assert answer.status_code in {201, 422}
    assert client.get("/v1/cameras").status_code == 200
    client.delete("/v1/cameras/odd")


def test_variables_are_not_filled_in_for_strangers(client: TestClient) -> None:
    answer = client.put("/v1/cameras/new", json={"source": "${HOME}"})
    assert "/root" not in answer.text
    problem(answer, 422, "settings_invalid")
