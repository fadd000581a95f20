"""A camera's life, told by scripted attempts and pauses that are noted and not slept."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from models.errors import SourceError
from service import camera
from service.camera import QUARANTINE_S, CameraLife
from service.ingest import Ask, Frame, Stream
from service.reader.openings import Openings
from service.reader.process import Ears
from service.reader.readers import Readers
from service.reader.wire import Ended, Why
from service.readings import State
from tests.fakes import frame

pytestmark = pytest.mark.anyio

ASK = Ask("rtsp://user:c4n4ry@camera.test/live")
Script = Sequence[Frame | Why | SourceError]


@dataclass
class Notes:
    """Ears that write down what they hear."""

    heard: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def frame(self, camera: str, frame: Frame) -> None:
        self.heard.append("frame")

    def stream(self, camera: str, stream: Stream) -> None:
        self.heard.append("stream")

    def lost(self, camera: str, why: str, frames: int) -> None:
        self.heard.append(f"lost {why}")

    def state(self, camera: str, state: State, reason: str) -> None:
        self.heard.append(state)
        self.reasons.append(reason)

    def reconnect(self, camera: str) -> None:
        self.heard.append("again")


class Scripted:
    """An attempt that plays frames and then ends, or does not."""

    reader, silent_s = 1, 0.0

    def __init__(self, script: Script, ears: Ears) -> None:
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.opened = asyncio.Event()
        self.rates: list[float] = []
        self.stopped = False
        self.playing = asyncio.create_task(self._play(script, ears))

    async def _play(self, script: Script, ears: Ears) -> None:
        for one in script:
            if isinstance(one, Frame):
                ears.frame(one)
            elif not isinstance(one, SourceError):
                self.ended.set_result(Ended(1, one, f"it {one}"))
            self.opened.set()

    def set_rate(self, rate: float) -> None:
        self.rates.append(rate)

    def stop(self) -> None:
        self.stopped = True


class ScriptedReaders:
    """Each opening plays the next script, the last one for ever, or raises its error."""

    def __init__(self, *openings: Script) -> None:
        self._openings = openings
        self.openings = Openings()
        self.attempts: list[Scripted] = []
        self.alone: list[bool] = []

    def begin(self, ask: Ask, ears: Ears, *, alone: bool = False) -> Scripted:
        script = self._openings[min(len(self.alone), len(self._openings) - 1)]
        self.alone.append(alone)
        if script and isinstance(script[0], SourceError):
            raise script[0]
        self.attempts.append(Scripted(script, ears))
        return self.attempts[-1]


@dataclass
class Lived:
    notes: Notes
    paused: list[float]
    readers: ScriptedReaders


def life(
    readers: ScriptedReaders, notes: Notes, pause: Callable[[float], object] = lambda _: None
) -> CameraLife:
    async def paused(seconds: float) -> None:
        pause(seconds)
        await asyncio.sleep(0)

    return CameraLife("gate", ASK, notes, cast("Readers", readers), pause=paused)


async def lived(*openings: Script, pauses: int = 1) -> Lived:
    """A camera's life until it has paused so often, or ended by itself."""
    readers, notes, paused = ScriptedReaders(*openings), Notes(), list[float]()

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == pauses:
            task.cancel()

    task = asyncio.create_task(life(readers, notes, pause).live())
    async with asyncio.timeout(10):
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()
    assert all(attempt.stopped for attempt in readers.attempts)
    return Lived(notes, paused, readers)


async def test_it_is_live_with_its_first_frame_and_not_before() -> None:
    one = await lived([frame(), frame(), "failed"])
    assert one.notes.heard == ["live", "frame", "frame", "down", "again"]


async def test_one_that_never_answered_is_connecting_and_not_down() -> None:
    one = await lived(["failed"], pauses=3)
    assert one.notes.heard == ["connecting", "again"] * 3
    assert set(one.notes.reasons) == {"it failed"}


@pytest.mark.parametrize(
    ("drawn", "pauses"), [(min, [1, 1, 1, 1, 1, 1, 1]), (max, [2, 4, 8, 16, 30, 30, 30])]
)
async def test_pauses_are_drawn_from_one_second_up_to_a_bound_that_doubles_until_thirty(
    drawn: Callable[[tuple[float, ...]], float],
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "uniform", lambda *bounds: drawn(bounds))
    assert (await lived(["failed"], pauses=7)).paused == pauses


@pytest.mark.parametrize("script", [["failed"], [frame(), "failed"]])
async def test_cameras_that_failed_together_do_not_come_back_together(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "GOOD_S", 0.0)
    several = [await lived(script, pauses=7) for _ in range(10)]
    assert len({pause for one in several for pause in one.paused}) == 70


async def test_after_a_good_stretch_of_frames_the_pauses_are_short_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(camera, "GOOD_S", 0.0)
    one = await lived([frame(), "failed"], pauses=7)
    assert max(one.paused) <= 2


async def test_a_camera_comes_back_where_it_answers_again() -> None:
    one = await lived([frame(), "failed"], ["failed"], [frame(), "failed"], pauses=3)
    assert one.notes.heard == [
        *("live", "frame", "down", "again"),
        *("down", "again"),
        *("live", "frame", "down", "again"),
    ]


async def test_a_login_refused_three_times_is_left_alone_for_five_minutes() -> None:
    one = await lived(["refused"], pauses=5)
    assert [pause == 300 for pause in one.paused] == [False, False, True, True, True]
    assert set(one.notes.heard) == {"auth_failed", "again"}


async def test_another_failure_in_between_starts_the_refusals_anew() -> None:
    refused: Script = ["refused"]
    one = await lived(refused, refused, ["failed"], refused, refused, refused, pauses=6)
    assert [pause == 300 for pause in one.paused] == [False] * 5 + [True]


async def test_a_file_that_ends_is_down_and_is_not_opened_again() -> None:
    one = await lived([frame(), "ended"])
    assert one.notes.heard == ["live", "frame", "down"]
    assert (one.paused, len(one.readers.attempts)) == ([], 1)


async def test_one_that_crashed_twice_is_read_alone_and_after_five_times_not_at_all() -> None:
    one = await lived([frame(), "crashed"], pauses=5)
    assert one.readers.alone == [False, False, True, True, True]
    assert [state for state in one.notes.heard if state in ("down", "quarantined")] == [
        *("down", "down", "down", "down"),
        "quarantined",
    ]
    assert one.paused[-1] == QUARANTINE_S


async def test_crashes_after_good_stretches_of_frames_lead_into_quarantine_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(camera, "GOOD_S", 0.0)
    one = await lived([frame(), "crashed"], pauses=5)
    assert [pause == QUARANTINE_S for pause in one.paused] == [False] * 4 + [True]


async def test_a_camera_for_which_there_is_no_reader_says_why_and_is_tried_again() -> None:
    full: Script = [SourceError("Too many open files")]
    one = await lived(full, full, [frame(), "failed"], pauses=3)
    assert one.notes.heard == [*("connecting", "again") * 2, "live", "frame", "down", "again"]
    assert one.notes.reasons[0] == "Too many open files"


async def test_failures_that_are_no_crashes_bring_nobody_into_quarantine() -> None:
    one = await lived([frame(), "failed"], pauses=7)
    assert "quarantined" not in one.notes.heard
    assert not any(one.readers.alone)


async def test_a_rate_that_was_lowered_holds_for_later_openings_too() -> None:
    readers, notes = ScriptedReaders([frame()]), Notes()
    gate = life(readers, notes)
    gate.set_rate(0.5)
    task = asyncio.create_task(gate.live())
    async with asyncio.timeout(10):
        while "frame" not in notes.heard:  # noqa: ASYNC110  # a script plays
            await asyncio.sleep(0)
    gate.set_rate(1.0)
    task.cancel()
    await asyncio.wait({task})
    assert readers.attempts[0].rates == [0.5, 1.0]


async def test_no_more_than_eight_are_opened_at_once() -> None:
    readers = ScriptedReaders([])  # nobody answers
    tasks = [asyncio.create_task(life(readers, Notes()).live()) for _ in range(12)]
    for _ in range(20):
        await asyncio.sleep(0)
    opened_at_once = len(readers.attempts)
    readers.attempts[0].opened.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert (opened_at_once, len(readers.attempts)) == (8, 9)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_an_ended_life_says_nothing_more() -> None:
    readers, notes = ScriptedReaders([frame()]), Notes()
    gate = life(readers, notes)
    task = asyncio.create_task(gate.live())
    async with asyncio.timeout(10):
        while not readers.attempts or not notes.heard:  # noqa: ASYNC110  # a script plays
            await asyncio.sleep(0)
    gate.end()
    assert readers.attempts[0].stopped
    task.cancel()
    await asyncio.wait({task})
    assert notes.heard == ["live", "frame"]
