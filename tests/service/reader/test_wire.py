"""Messages between the service and its reader processes."""

import socket
from pathlib import Path

import pytest

from models.errors import SourceError
from service.ingest import Ask, Stream
from service.reader import wire
from service.reader.__main__ import Talk

STREAM = Stream("h264", 1920, 1080, 25.0, None, "all")
MESSAGES = [
    wire.Begin(1, Ask("rtsp://u:p@camera.test/1", size=(640, 360), rate=5)),
    wire.Rate(1, 0.5),
    wire.End(1),
    wire.Framed(1, 7, 432, 768, 12.5, 1.7e9, None, False, 2),
    wire.Known(1, STREAM),
    wire.Gone(1, "late", 1),
    wire.Ended(1, "refused", "the camera refuses this login"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_a_message_arrives_as_it_was_sent(message: wire.Wish | wire.News) -> None:
    data = wire.packed(message)
    assert wire.unpacked(data) == message
    assert len(data) < wire.LARGEST


def test_a_message_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(SourceError, match="too long"):
        wire.packed(wire.Begin(1, Ask("rtsp://camera.test/" + wire.LARGEST * "x")))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_message_that_was_cut_is_passed_over_with_its_descriptor() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        before = open_files()
        socket.send_fds(ours, [bytes(wire.LARGEST + 1)], [ours.fileno()])
        ours.send(wire.packed(wire.End(7)))
        assert Talk(theirs).hear() == (wire.End(7), -1)
        assert open_files() == before
