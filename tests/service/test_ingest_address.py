"""Looking up the name of a camera: late answers, none at all, and signs of life meanwhile."""

import socket
import threading
from collections.abc import Iterator

import pytest

from models.errors import SourceError
from service.ingest import _address
from tests.service.watching import Watching

ADDRESS = "rtsp://viewer:c4n4ry@camera.test/live"


class Signs(Watching):
    """Counts signs of life."""

    signs = 0

    def wait(self, seconds: float) -> bool:
        self.signs += 1
        return super().wait(seconds)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """When name servers answer."""
    answered = threading.Event()

    def lookup(*_: object) -> list[object]:
        answered.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(_address, "NAP_S", 0.01)
    yield answered
    answered.set()


def test_a_late_answer_is_waited_for_with_signs_of_life(answer: threading.Event) -> None:
    watch = Signs(1)
    threading.Timer(0.1, answer.set).start()
    _address.resolve(ADDRESS, watch)
    assert watch.signs >= 2


def test_a_lookup_without_an_answer_is_given_up_and_told_as_what_it_is(
    answer: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_address, "LOOKUP_S", 0.05)
    with pytest.raises(SourceError, match=r"^no name server told of the camera within 0\.05 s$"):
        _address.resolve(ADDRESS, Signs(1))
    assert not answer.is_set()


def test_nobody_waits_for_an_answer_that_is_not_wanted_any_more(answer: threading.Event) -> None:
    watch = Signs(1)
    watch.stop()
    with pytest.raises(SourceError):
        _address.resolve(ADDRESS, watch)
    assert not answer.is_set()
