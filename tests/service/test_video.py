"""Reading real H.264: how old a frame is said to be, what is given up, what is told of a stream."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from service.ingest import Ask, Frame, _damage, _decoder, _video
from tests.fakes import video
from tests.service.clips import FPS, Live, ask, clip, numbers, serving
from tests.service.watching import Watching, played


def when(count: int, change: Callable[[Watching], None]) -> Any:
    """Changes the watch after so many frames."""

    def each(frames: list[Frame], watch: Watching) -> None:
        if len(frames) == count:
            change(watch)

    return each


def rate(value: float) -> Callable[[Watching], None]:
    def change(watch: Watching) -> None:
        watch.rate = value

    return change


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def short(folder: Path) -> Path:
    """Two seconds, five key frames a second."""
    return clip(folder / "short.mp4", 2, gop=5)


@pytest.fixture(scope="module")
def rare(folder: Path) -> Path:
    """Four seconds, a key frame a second."""
    return clip(folder / "rare.mp4", 4, gop=25)


def test_what_a_stream_is_is_told_when_it_is_known(short: Path) -> None:
    watch = Watching(25)
    played(ask(short, size=(32, 32)), watch=watch)
    first, last = watch.streams[0], watch.streams[-1]
    assert (first.codec, first.width, first.height) == ("h264", 64, 48)
    assert (first.fps, first.keyframe_s) == (None, None)
    assert (last.fps, last.keyframe_s) == (25.0, 0.2)
    assert len(watch.streams) <= 3
    assert watch.packets == 50


def test_a_stream_that_grows_quicker_is_told_again(tmp_path: Path) -> None:
    slow_s = [number / 5 for number in range(10)]
    times = slow_s + [2 + number / 20 for number in range(50)]
    path = video(tmp_path / "hurries.mp4", [(at_s, 90) for at_s in times])
    watch = Watching(2)
    played(ask(path, rate=2), watch=watch)
    told = [round(stream.fps) for stream in watch.streams if stream.fps]
    assert list(dict.fromkeys(told)) == [5, 20]


@pytest.mark.parametrize(("fps", "seconds"), [(1, 3), (60, 1)])
def test_slow_and_quick_streams_give_all_their_pictures(
    folder: Path, fps: int, seconds: int
) -> None:
    path = clip(folder / f"{fps}.mp4", seconds, gop=60, fps=fps)
    frames, _ = played(ask(path, rate=60), most=2 if fps == 1 else 1000)
    assert len(frames) == (2 if fps == 1 else 60)
    assert frames[1].captured_s - frames[0].captured_s == pytest.approx(1 / fps, abs=0.002)


def test_both_clocks_of_a_frame_agree(short: Path) -> None:
    frames, _ = played(ask(short), most=5)
    at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - frames[0].captured_s)
    assert abs(frames[0].captured_at - at) < timedelta(milliseconds=20)


def test_a_loop_keeps_the_rate(folder: Path) -> None:
    path = clip(folder / "blink.mp4", 0.4, gop=10)
    frames, _ = played(ask(path, rate=4, loop=True), most=6)
    gaps = [after.captured_s - before.captured_s for before, after in pairwise(frames)]
    assert gaps == pytest.approx([0.25] * 5, abs=0.05)


def test_a_file_without_time_stamps_plays_at_its_rate(folder: Path) -> None:
    path = clip(folder / "bare.h264", 0.6, gop=5)
    frames, _ = played(ask(path, loop=True), most=25)
    assert frames[-1].captured_s - frames[0].captured_s == pytest.approx(24 / FPS, abs=0.05)


@pytest.fixture(scope="module")
def changing(folder: Path) -> Path:
    """Another size after half a second, and time stamps that begin again with it."""
    parts = [
        clip(folder / f"{height}.ts", 0.6, gop=5, size_hw=(height, width))
        for height, width in ((48, 64), (96, 128))
    ]
    path = folder / "changing.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_a_change_of_size_and_a_jump_of_stamps_disturb_nobody(changing: Path) -> None:
    watch = Watching(10)
    frames, _ = played(ask(changing, rate=10, size=(640, 480), decode="all"), watch=watch)
    sizes = [frame.image_HW3.shape for frame in frames]
    assert list(dict.fromkeys(sizes)) == [(48, 64, 3), (96, 128, 3)]
    assert len(frames) in (11, 12, 13)
    assert frames[-1].captured_s - frames[0].captured_s == pytest.approx(1.1, abs=0.1)


def test_a_new_size_is_told(changing: Path) -> None:
    watch = Watching(25)
    played(ask(changing), watch=watch)
    assert [(told.width, told.height) for told in watch.streams] == [(64, 48), (128, 96)]


# --- late


def ages(ask_: Ask, *, most: int, slow_s: float, watch: Watching) -> list[float]:
    """How old each frame is when a reader that takes `slow_s` for each gets it."""
    said: list[float] = []

    def each(frames: list[Frame], _: Watching) -> None:
        said.append(time.monotonic() - frames[-1].captured_s)

    watch.slow_s = slow_s
    played(ask_, most=most, watch=watch, each=each)
    return said


def test_frames_of_a_file_age_where_the_reader_is_slow(short: Path) -> None:
    watch = Watching(25)
    said = ages(ask(short, max_age_s=5), most=6, slow_s=0.14, watch=watch)
    assert said == pytest.approx([0.1 * number for number in range(6)], abs=0.1)
    assert not watch.losses


def test_frames_of_a_camera_age_where_the_reader_is_slow(rare: Path) -> None:
    watch = Watching(25)
    with serving(Live, rare.parent) as address:
        said = ages(ask(f"{address}/0.2/rare.mp4"), most=6, slow_s=0.14, watch=watch)
    assert said == pytest.approx([0.1 * number for number in range(6)], abs=0.07)
    assert not watch.losses


@pytest.mark.parametrize("live", [False, True])
def test_what_is_too_old_is_given_up_and_reading_goes_on_at_a_newer_key_frame(
    short: Path, live: bool
) -> None:
    watch = Watching(25)
    with serving(Live, short.parent) as address:
        source = f"{address}/0.2/short.mp4" if live else short
        said = ages(ask(source, max_age_s=0.25), most=6, slow_s=0.2, watch=watch)
    assert max(said) < 0.3
    assert set(watch.losses) == {"late"}
    assert watch.packets > 15  # of which six were wanted


def test_a_camera_that_was_late_is_new_again_once_the_reader_is_quick(rare: Path) -> None:
    watch = Watching(10)
    late: list[float] = []

    def each(frames: list[Frame], watch: Watching) -> None:
        late.append(time.monotonic() - frames[-1].captured_s)
        watch.slow_s = 0.5 if len(frames) == 2 else 0

    with serving(Live, rare.parent) as address:
        source = f"{address}/0.2/rare.mp4"
        played(ask(source, rate=10, max_age_s=0.3), most=8, watch=watch, each=each)
    assert "late" in watch.losses
    assert late[-1] < 0.1


def test_what_a_camera_had_buffered_is_not_shown(rare: Path) -> None:
    with serving(Live, rare.parent) as address:
        frames, _ = played(ask(f"{address}/1/rare.mp4"), most=3)
    assert numbers(frames)[0] >= 24
    gaps = [after.captured_s - before.captured_s for before, after in pairwise(frames)]
    assert gaps == pytest.approx([0.04, 0.04], abs=0.02)


def test_a_camera_that_closes_is_told(rare: Path) -> None:
    with serving(Live, rare.parent) as address:
        _, end = played(ask(f"{address}/4/rare.mp4"))
    assert end.startswith("SourceError: ")


# --- corrupt


def damaged(path: Path, into: Path, which: Callable[[int], bool]) -> Path:
    """The clip with other bytes in some of its packets, behind the first eight."""
    chance = random.Random(1)
    with av.open(str(path)) as whole, av.open(str(into), "w") as container:
        stream = container.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(video=0)):
            if not packet.size:
                break
            data = bytes(packet)
            if which(number):
                data = data[:8] + chance.randbytes(len(data) - 8)
            other = av.Packet(data)
            other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
            other.is_keyframe, other.stream = packet.is_keyframe, stream
            container.mux(other)
    return into


def test_what_cannot_be_decoded_is_passed_over_and_told_once_a_due_time(
    folder: Path, tmp_path: Path
) -> None:
    whole = clip(folder / "whole.mp4", 1.4, gop=1)
    path = damaged(whole, tmp_path / "damaged.mp4", lambda number: 10 <= number < 20)
    watch = Watching(10)
    frames, end = played(ask(path, rate=10, decode="all"), watch=watch)
    assert end == "SourceEnded: the stream ended"
    assert watch.losses == ["corrupt"] * 4
    assert len(frames) in (10, 11)
    assert not set(numbers(frames)) & set(range(11, 19))


def test_what_follows_from_a_damaged_picture_is_damaged_up_to_the_next_key_frame(
    folder: Path, tmp_path: Path
) -> None:
    sound = clip(folder / "sound_p.mp4", 3, gop=25, size_hw=(240, 320))
    path = damaged(sound, tmp_path / "smeared.mp4", lambda number: number == 30)
    watch = Watching(25)
    frames, _ = played(ask(path, size=(320, 240)), watch=watch)
    assert watch.losses == ["corrupt"]  # the picture itself
    spoilt = [index for index, frame in enumerate(frames) if frame.damaged]
    assert spoilt == list(range(30, 49))  # of pictures 31 to 49: a key frame is the fiftieth


def test_where_packets_may_be_lost_a_picture_that_is_missing_is_a_damage() -> None:
    def packet(number: int, *, key: bool = False) -> Any:
        made = av.Packet(b"x")
        made.pts = made.dts = number
        made.time_base, made.is_keyframe = Fraction(1, 25), key
        return made

    sure, lossy = _damage.Damage(lossy=False), _damage.Damage(lossy=True)
    for number in (0, 1, 2, 4):
        for one in (sure, lossy):
            assert not one.lasts
            one.note(packet(number), number / 25, fps=25.0)
    assert (sure.lasts, lossy.lasts) == (False, True)
    lossy.end()
    lossy.note(packet(25, key=True), 1.0, fps=25.0)
    lossy.note(packet(26), 1.04, fps=25.0)
    assert not lossy.lasts


def test_a_stream_that_sends_no_key_frame_after_a_damage_is_opened_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_video, "FOREVER_S", 0.5)
    endless = clip(folder / "endless.mp4", 3, gop=1000, size_hw=(240, 320))
    path = damaged(endless, tmp_path / "spoilt.mp4", lambda number: number == 30)
    frames, end = played(ask(path, size=(320, 240)))
    assert end == "SourceError: no key frame for 0.5 s since a picture was damaged"
    assert len(frames) == pytest.approx(30 + 12, abs=3)


def test_a_broken_key_frame_is_told_too(short: Path, tmp_path: Path) -> None:
    path = damaged(short, tmp_path / "keys.mp4", lambda number: number in (10, 15))
    watch = Watching(5)
    frames, _ = played(ask(path, rate=5, decode="keyframes"), watch=watch)
    assert watch.losses == ["corrupt", "corrupt"]
    assert numbers(frames) == pytest.approx([0, 5, 20, 25, 30, 35, 40, 45], abs=1)


def test_a_stream_of_which_nothing_can_be_decoded_is_given_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_decoder, "GIVE_UP_S", 0.05)
    path = damaged(clip(folder / "sound.mp4", 0.1, gop=1), tmp_path / "noise.mp4", lambda _: True)
    frames, end = played(ask(path, loop=True))
    assert not frames
    assert end == "SourceError: nothing could be decoded for 0.05 s"
