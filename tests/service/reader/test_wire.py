"""Messages between the service and its reader processes."""

import pytest

from service.ingest import Ask, Stream
from service.reader import wire

STREAM = Stream("h264", 1920, 1080, 25.0, None, "all")
MESSAGES = [
    wire.Begin(1, Ask("rtsp://u:p@camera.test/1", size=(640, 360), rate=5)),
    wire.Rate(1, 0.5),
    wire.End(1),
    wire.Framed(1, 7, 432, 768, 12.5, 1.7e9, None, 2),
    wire.Known(1, STREAM),
    wire.Gone(1, "late", 1),
    wire.Ended(1, "refused", "the camera refuses this login"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_a_message_arrives_as_it_was_sent(message: wire.Wish | wire.News) -> None:
    data = wire.packed(message)
    assert wire.unpacked(data) == message
    assert len(data) < wire.LARGEST
