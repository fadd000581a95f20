"""Which pictures of real H.264 are decoded: no more than those that are due depend on."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from service.ingest import Frame, _decoder, _video
from tests.service.clips import FPS, Live, ask, clip, numbers, serving
from tests.service.watching import Watching, played

REORDERED = {"preset": "veryfast", "tune": "fastdecode", "bf": "2"}
END = -1


def near_key_frames(frames: list[Frame], gop: int) -> list[bool]:
    return [min(number % gop, -number % gop) <= 1 for number in numbers(frames)]  # scaled greys


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def short(folder: Path) -> Path:
    """Two seconds, five key frames a second."""
    return clip(folder / "short.mp4", 2, gop=5)


def test_key_frames_alone_are_decoded_as_soon_as_they_are_known_to_meet_the_rate(
    short: Path,
) -> None:
    watch = Watching(5)
    frames, _ = played(ask(short, rate=5), watch=watch)
    assert [stream.decoding for stream in watch.streams] == ["all", "keyframes"]
    assert all(near_key_frames(frames, 5))
    assert len(frames) in (9, 10)


def test_all_is_decoded_where_key_frames_do_not_meet_the_rate(short: Path) -> None:
    watch = Watching(6)
    frames, _ = played(ask(short, rate=6), watch=watch)
    assert {stream.decoding for stream in watch.streams} == {"all"}
    assert not all(near_key_frames(frames, 5))
    assert len(frames) in (11, 12)


def test_a_rate_that_falls_makes_decoding_cheap_and_one_that_rises_brings_all_back(
    short: Path,
) -> None:
    def falls_then_rises(frames: list[Frame], watch: Watching) -> None:
        watch.rate = 5 if 10 <= len(frames) < 14 else 25

    frames, _ = played(ask(short), each=falls_then_rises)
    assert numbers(frames)[:10] == pytest.approx(range(10), abs=1)
    assert all(near_key_frames(frames[10:14], 5))
    gaps = [after.captured_s - before.captured_s for before, after in pairwise(frames[14:])]
    assert max(gaps[5:]) < 0.06


def test_key_frames_alone_can_be_asked_for(short: Path) -> None:
    frames, _ = played(ask(short, decode="keyframes"))
    assert numbers(frames) == pytest.approx(range(0, 50, 5), abs=1)
    assert frames[-1].captured_s - frames[0].captured_s == pytest.approx(1.8, abs=0.01)


def test_all_can_be_asked_for(short: Path) -> None:
    watch = Watching(2)
    played(ask(short, rate=2, decode="all"), watch=watch)
    assert {stream.decoding for stream in watch.streams} == {"all"}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of all pictures that a decoder is given."""
    given: list[int] = []
    decode = _decoder.Decoder.pictures

    def noted(self: Any, packet: Any, *, alone: bool) -> Any:
        given.append(round(packet.pts * packet.time_base * FPS) if packet.size else END)
        return decode(self, packet, alone=alone)

    monkeypatch.setattr(_decoder.Decoder, "pictures", noted)
    return given


def test_nothing_is_decoded_between_the_last_picture_that_is_due_and_a_key_frame(
    folder: Path, decoded: list[int]
) -> None:
    path = clip(folder / "regular.mp4", 2.4, gop=10)
    frames, _ = played(ask(path, rate=5))
    assert numbers(frames) == pytest.approx(range(0, 60, 5), abs=1)
    known_from = 10  # the second key frame
    wanted = [number for number in range(60) if number < known_from or number % 10 <= 5]
    assert decoded == [*wanted, END]


def test_all_is_decoded_where_that_is_asked_for(folder: Path, decoded: list[int]) -> None:
    path = clip(folder / "whole.mp4", 2, gop=10)
    played(ask(path, rate=5, decode="all"))
    assert decoded == [*range(50), END]


@pytest.mark.parametrize(
    "options", [REORDERED, {"x264-params": "intra-refresh=1"}], ids=["reordered", "refreshed"]
)
def test_pictures_that_depend_on_those_before_a_key_frame_all_come(
    folder: Path, options: dict[str, str], decoded: list[int]
) -> None:
    path = clip(folder / f"{len(options)}.mp4", 3, gop=10, options=options)
    frames, _ = played(ask(path, rate=5))
    assert len(frames) in (14, 15)
    assert len(decoded) > 60


def test_pictures_are_on_time_where_key_frames_come_as_they_like(folder: Path) -> None:
    keys = {0, 10, 20, 30, 60, 66, 73, 80}
    path = clip(folder / "irregular.mp4", 4, gop=1000, options={"forced-idr": "1"}, keys=keys)
    frames, _ = played(ask(path, rate=5))
    gaps = [after.captured_s - before.captured_s for before, after in pairwise(frames)]
    assert len(frames) in (20, 21)
    assert max(gaps) < 0.25


def test_a_camera_whose_key_frames_cease_is_read_on(folder: Path, decoded: list[int]) -> None:
    keys = {0, 5, 10, 15, 20, 25, 30}
    path = clip(folder / "ceases.mp4", 3, gop=1000, options={"forced-idr": "1"}, keys=keys)
    watch = Watching(5)
    frames, _ = played(ask(path, rate=5), watch=watch)
    assert watch.streams[-1].decoding == "keyframes"
    assert [number for number in decoded if 5 < number <= 30] == [10, 15, 20, 25, 30]
    assert numbers(frames) == pytest.approx(range(0, 75, 5), abs=1)


def test_only_so_many_packets_are_held(
    folder: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    monkeypatch.setattr(_video, "HELD", 12)
    path = clip(folder / "long.mp4", 3.6, gop=30)
    frames, _ = played(ask(path, rate=0.85))
    assert numbers(frames) == pytest.approx([0, 30, 60], abs=1)
    assert {30, 60} <= set(decoded)
    assert not {*range(31, 60)} & set(decoded)


def test_pictures_of_a_camera_come_to_fall_on_its_key_frames(folder: Path) -> None:
    path = clip(folder / "steady.mp4", 4, gop=20)
    with serving(Live, folder) as address:
        frames, _ = played(ask(f"{address}/0.3/{path.name}", rate=2.5))
    assert numbers(frames)[-4:] == pytest.approx([60, 70, 80, 90], abs=1)


def test_key_frames_come_out_at_once_where_pictures_are_coded_in_another_order(
    folder: Path,
) -> None:
    path = clip(folder / "reordered.mp4", 1, gop=10, options=REORDERED)
    frames, _ = played(ask(path, decode="keyframes"))
    assert numbers(frames) == pytest.approx([0, 10, 20], abs=1)
    assert len(played(ask(path))[0]) == 25


def test_a_stream_without_whole_key_frames_is_decoded_in_full(folder: Path) -> None:
    path = clip(folder / "refreshed.mp4", 2, gop=5, options={"x264-params": "intra-refresh=1"})
    watch = Watching(5)
    frames, _ = played(ask(path, rate=5), watch=watch)
    assert len(frames) >= 3
    assert watch.streams[-1].decoding == "all"
