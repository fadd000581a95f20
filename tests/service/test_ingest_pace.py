"""Which pictures are due, and what a stream is measured to be."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingest import Decode
from service.ingest._pace import Pace, Rhythm


def served(times: list[float], rate: float, pace: Pace | None = None) -> list[float]:
    pace, given_s = pace or Pace(), []
    for at_s in times:
        if pace.due(at_s, rate):
            pace.serve(at_s, rate)
            given_s.append(at_s)
    return given_s


def at(fps: float, seconds: float, *, from_s: float = 0.0) -> list[float]:
    return [from_s + number / fps for number in range(round(seconds * fps))]


@given(fps=st.floats(1, 60), rate=st.floats(0.1, 60), seed=st.integers(0, 1000))
def test_as_many_are_due_as_the_rate_and_the_stream_allow(
    fps: float, rate: float, seed: int
) -> None:
    jitter = Random(seed)
    times = [at_s + jitter.uniform(0, min(0.01, 0.25 / fps)) for at_s in at(fps, 30)]
    assert len(served(times, rate)) == pytest.approx(30 * min(fps, rate), abs=2.5, rel=0.02)


def test_pictures_that_come_a_little_early_or_late_are_all_due() -> None:
    assert len(served([number / 25 + 0.001 * (number % 2) for number in range(100)], 25)) == 100


def test_a_rate_that_falls_and_rises_holds_from_the_next_picture_on() -> None:
    pace = Pace()
    assert len(served(at(25, 4), 5, pace)) == 20
    assert len(served(at(25, 4, from_s=4), 0.5, pace)) == 2
    assert len(served(at(25, 4, from_s=8), 5, pace)) in (19, 20)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_time_that_jumps_costs_or_gives_a_picture_at_most(jump_s: float) -> None:
    assert len(served(at(25, 4) + at(25, 4, from_s=4 + jump_s), 2)) in (16, 17)


def test_what_is_broken_is_blamed_once_a_due_time() -> None:
    pace = Pace()
    assert sum(pace.due(at_s, 2) and pace.blame(at_s, 2) for at_s in at(25, 3)) == 6
    pace.serve(3.0, 2)
    assert pace.blame(3.52, 2)


def test_a_grid_that_begins_anew_is_due_there_and_a_period_later() -> None:
    pace = Pace()
    pace.serve(1.0, 2)
    assert pace.until_s(1.2, 2) == pytest.approx(0.29)
    pace.begin(1.3, 2)
    assert pace.until_s(1.3, 2) <= 0
    assert served(at(25, 2, from_s=1.3), 2, pace) == pytest.approx([1.3, 1.82, 2.3, 2.82])


def measured(*parts: tuple[float, float, int], gap_s: float = 0.0) -> Rhythm:
    """A stream of parts: pictures a second, seconds, pictures from one key frame to the next."""
    rhythm, at_s = Rhythm(), 50.0
    for fps, seconds, gop in parts:
        for number in range(round(fps * seconds)):
            rhythm.note(at_s, key=number % gop == 0)
            at_s += 1 / fps
        at_s += gap_s
    return rhythm


@pytest.mark.parametrize(("fps", "gop"), [(1, 2), (12.5, 25), (25, 50), (60, 30), (25, 1)])
def test_a_stream_is_measured(fps: float, gop: int) -> None:
    rhythm = measured((fps, 12, gop))
    assert rhythm.fps == pytest.approx(fps)
    assert rhythm.keyframe_s == pytest.approx(gop / fps)


def test_nothing_is_said_before_it_is_known() -> None:
    rhythm = measured((25, 1, 50))
    assert (rhythm.fps, rhythm.keyframe_s) == (None, None)
    assert rhythm.cheapest("auto", 0.1) == "all"


def test_a_jump_of_the_stamps_is_not_measured() -> None:
    for gap_s in (3600.0, -3600.0):
        rhythm = measured((25, 6, 50), (25, 6, 50), gap_s=gap_s)
        assert rhythm.fps == pytest.approx(25)
        assert rhythm.keyframe_s == pytest.approx(2)


@pytest.mark.parametrize(
    ("decode", "rate", "done"),
    [
        ("auto", 0.5, "keyframes"),
        ("auto", 0.52, "keyframes"),
        ("auto", 0.6, "all"),
        ("all", 0.1, "all"),
        ("keyframes", 25, "keyframes"),
    ],
)
def test_key_frames_alone_are_decoded_where_they_meet_the_rate(
    decode: Decode, rate: float, done: str
) -> None:
    assert measured((25, 8.1, 50)).cheapest(decode, rate) == done


def test_a_camera_whose_key_frames_become_rarer_needs_all_at_the_next_one() -> None:
    assert measured((25, 6, 25)).cheapest("auto", 1) == "keyframes"
    assert measured((25, 6, 25), (25, 6, 1000), (25, 0.04, 1)).cheapest("auto", 1) == "all"


@pytest.mark.parametrize(
    ("rate", "near"), [(1, 1), (5, 5), (0.99, 1), (1.01, 1), (0.51, 0.5), (0.7, None), (0.1, None)]
)
def test_a_rate_gives_way_a_little_so_that_its_pictures_fall_on_key_frames(
    rate: float, near: float | None
) -> None:
    found = measured((25, 8.1, 50)).in_step(rate)
    assert found == (near and pytest.approx(near))


def test_no_rate_is_in_step_with_key_frames_that_come_as_they_like() -> None:
    assert measured((25, 4, 50)).in_step(1) is None  # too few to tell
    assert measured((25, 8.1, 50), (25, 1, 50), (25, 6, 25)).in_step(1) == pytest.approx(1)
    assert measured((25, 8.1, 50), (25, 1.2, 50), (25, 0.04, 1)).in_step(1) is None


def test_it_is_known_how_long_no_key_frame_comes_until_one_is_overdue() -> None:
    assert Rhythm().rest_s is None
    assert measured((25, 0.4, 50)).rest_s == pytest.approx(1.6)  # a guess
    for pictures, rest_s in ((1, 1.96), (26, 0.96), (50, 0), (51, -0.04), (53, None)):
        rhythm = measured((25, 6, 50), (25, pictures / 25, 1000))
        assert rhythm.rest_s == (rest_s if rest_s is None else pytest.approx(rest_s, abs=1e-9))
