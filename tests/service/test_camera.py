"""A camera's life, told by a scripted source and pauses that are noted and not slept."""

import threading
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from models.errors import SourceEnded, SourceError, SourceRefused
from service.camera import CameraThread
from service.ingest import Frame
from service.readings import State
from service.settings import Camera
from tests.fakes import FakeSource, frame

SETTINGS = Camera(source=SecretStr("rtsp://user:c4n4ry@camera.test/live"))


@dataclass
class Notes:
    """Ears that write down what they hear."""

    heard: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def frame(self, camera: str, frame: Frame) -> None:
        self.heard.append("frame")

    def state(self, camera: str, state: State, reason: str) -> None:
        self.heard.append(state)
        self.reasons.append(reason)

    def reconnect(self, camera: str) -> None:
        self.heard.append("again")


def lived(
    source: FakeSource | None, *, pauses: int = 1, settings: Camera = SETTINGS
) -> tuple[Notes, list[float]]:
    """A camera's life until it has paused so often, or ended by itself."""
    notes, paused = Notes(), list[float]()

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == pauses:
            thread.stop()

    thread = CameraThread("gate", settings, notes, source=source, pause=pause)
    thread.start()
    thread.join(20)
    assert "camera gate" not in [one.name for one in threading.enumerate()]
    return notes, paused


def test_it_is_live_with_its_first_frame_and_not_before() -> None:
    notes, _ = lived(FakeSource([frame(), frame(), SourceError("gone")]))
    assert notes.heard == ["live", "frame", "frame", "down", "again"]


def test_one_that_never_answered_is_connecting_and_not_down() -> None:
    notes, _ = lived(FakeSource([SourceError("cannot be opened")]), pauses=3)
    assert notes.heard == ["connecting", "again"] * 3
    assert set(notes.reasons) == {"cannot be opened"}


def test_the_pauses_grow_from_one_second_to_thirty() -> None:
    _, paused = lived(FakeSource([SourceError("no")]), pauses=9)
    for pause, wanted in zip(paused, [1, 2, 4, 8, 16, 30, 30, 30, 30], strict=True):
        assert wanted <= pause <= min(30, wanted + 1)


def test_a_camera_comes_back_where_it_answers_again() -> None:
    source = FakeSource(
        [frame(), SourceError("gone")], [SourceError("no")], [frame(), SourceError("no")]
    )
    notes, _ = lived(source, pauses=3)
    assert notes.heard == [
        *("live", "frame", "down", "again"),
        *("down", "again"),
        *("live", "frame", "down", "again"),
    ]


def test_a_login_refused_three_times_is_left_alone_for_five_minutes() -> None:
    notes, paused = lived(FakeSource([SourceRefused("refused")]), pauses=5)
    assert [pause == 300 for pause in paused] == [False, False, True, True, True]
    assert set(notes.heard) == {"auth_failed", "again"}


def test_another_failure_in_between_starts_the_refusals_anew() -> None:
    refused, other = [SourceRefused("refused")], [SourceError("no")]
    _, paused = lived(FakeSource(refused, refused, other, refused, refused, refused), pauses=6)
    assert [pause == 300 for pause in paused] == [False] * 5 + [True]


def test_a_file_that_ends_is_down_and_is_not_opened_again() -> None:
    source = FakeSource([frame(), SourceEnded("the stream ended")])
    notes, paused = lived(source)
    assert notes.heard == ["live", "frame", "down"]
    assert (paused, source.opened) == ([], 1)


def test_a_stopped_camera_says_nothing_more() -> None:
    class Stopping(Notes):
        def frame(self, camera: str, frame: Frame) -> None:
            super().frame(camera, frame)
            thread.stop()

    notes = Stopping()
    script: list[Frame | Exception] = [frame(), frame(), SourceError("gone")]
    thread = CameraThread("gate", SETTINGS, notes, source=FakeSource(script), pause=lambda _: None)
    thread.start()
    thread.join(10)
    assert notes.heard == ["live", "frame"]


@pytest.mark.parametrize(
    "address", ["rtsp://u:c4n4ry@127.0.0.1:1/x", "http://u:c4n4ry@127.0.0.1:1/"]
)
def test_no_reason_holds_the_address(address: str) -> None:
    notes, _ = lived(None, settings=Camera(source=SecretStr(address)))
    assert notes.heard[0] == "connecting"
    assert "c4n4ry" not in str(notes.reasons)
    assert "127.0.0.1" not in str(notes.reasons)
