"""Sources: which file reads an address, what of it is shown, and files played for real."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingest import SOURCES, Ask, Frame, kind_of, redacted
from service.ingest._video import arriving
from tests.fakes import video
from tests.service.watching import Watching, played

text = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=12)


def ask(source: Path | str, **fields: Any) -> Ask:
    return replace(Ask(str(source), rate=60), **fields)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("rtsp://camera/live", "rtsp"),
        ("RTSP://camera/live", "rtsp"),
        ("rtsps://camera/live", "rtsp"),
        ("http://camera/video.mjpg", "http"),
        ("https://camera/video.m3u8", "http"),
        ("demo", "demo"),
        ("demo:7", "demo"),
        ("demos", "file"),
        ("clip.mp4", "file"),
        ("/videos/clip.mp4", "file"),
        ("file:///etc/passwd", "file"),
        ("concat:a|b", "file"),
        ("rtsp+file://x", "file"),
        (" rtsp://camera", "file"),
        ("rt\nsp://camera", "file"),
        ("http://[", "http"),
        ("rtsp", "file"),
        ("rtsp:/etc/passwd", "file"),
        ("", "file"),
    ],
)
def test_the_scheme_says_who_reads_it(address: str, kind: str) -> None:
    assert kind_of(address) == kind


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://camera:554/live/1", "rtsp://camera:554/***"),
        ("rtsp://u:p@camera:554/live/1", "rtsp://***@camera:554/***"),
        ("rtsp://u@camera/live", "rtsp://***@camera/***"),
        ("rtsp://u:p@[::1]:554/live", "rtsp://***@[::1]:554/***"),
        ("rtsp://u:pa/ss@camera/live", "rtsp://***@camera/***"),
        ("rtsp://u:p@ss@camera/live", "rtsp://***@camera/***"),
        ("rtsp://camera/k3y-0f-th1s-c4mera", "rtsp://camera/***"),
        ("rtsp://u:p@camera", "rtsp://***@camera"),
        ("rtsp://u:p@camera:99999/x", "rtsp://***@camera:99999/***"),
        ("http://camera/a?user=u&password=p#f", "http://camera/***"),
        ("rtsp://camera/user=u_password=p.sdp", "rtsp://camera/***"),
        ("rtmp://u:p@camera/live", "rtmp://***@camera/***"),
        ("u:p@camera/live", "***@camera/live"),
        ("/videos/clip.mp4", "/videos/clip.mp4"),
        ("demo:7", "demo:7"),
    ],
)
def test_what_is_shown_of_an_address(address: str, shown: str) -> None:
    assert redacted(address) == shown


@given(
    user=text,
    password=text,
    scheme=st.sampled_from(["rtsp", "rtsps", "http", "https", "rtmp", "srt", "RTSP"]),
    place=st.sampled_from(["camera", "10.0.0.7:554", "[::1]", "", "camera/live/1?x=1"]),
)
def test_no_user_and_no_password_is_ever_shown(
    user: str, password: str, scheme: str, place: str
) -> None:
    shown = redacted(f"{scheme}://{user}:{password}@{place}")
    rest = shown.removeprefix(f"{scheme}://***@").removesuffix("/***")
    assert place.startswith(rest)


@given(st.text(max_size=40))
def test_any_text_can_be_an_address(address: str) -> None:
    assert kind_of(address) in SOURCES.names()
    assert len(redacted(address)) <= len(address) + 6


def test_every_source_can_be_loaded() -> None:
    assert SOURCES.names() == ["demo", "file", "http", "rtsp"]
    assert all(callable(SOURCES[name]) for name in SOURCES.names())


def test_a_file_plays_once_at_its_pace_and_ends(tmp_path: Path) -> None:
    file = video(tmp_path / "clip.mp4", [(0, 50), (0.1, 100), (0.2, 150)])
    frames, end = played(ask(file))
    assert end == "SourceEnded: the stream ended"
    assert [round(float(frame.image_HW3.mean()), -1) for frame in frames] == [50, 100, 150]
    assert frames[2].captured_s - frames[0].captured_s >= 0.19


def test_a_file_in_a_loop_starts_again_and_time_goes_on(tmp_path: Path) -> None:
    file = video(tmp_path / "clip.mp4", [(0, 50), (0.05, 150)])
    frames, end = played(ask(file, loop=True), most=5)
    assert end == ""
    assert [round(float(frame.image_HW3.mean()), -1) for frame in frames] == [50, 150, 50, 150, 50]
    times = [frame.captured_s for frame in frames]
    assert times == sorted(times)


def test_only_as_many_frames_as_the_rate_asks_for_are_given(tmp_path: Path) -> None:
    file = video(tmp_path / "clip.mp4", [(index * 0.02, 90) for index in range(25)])
    frames, _ = played(ask(file, rate=10))
    assert 4 <= len(frames) <= 6


def test_frames_fit_into_the_box_with_their_shape_kept(tmp_path: Path) -> None:
    file = video(tmp_path / "clip.mp4", [(0, 50)], size_hw=(96, 64))
    frames, _ = played(ask(file, size=(640, 48)))
    assert frames[0].image_HW3.shape == (48, 32, 3)
    assert frames[0].image_HW3.dtype == np.uint8


def test_a_stop_ends_a_wait_for_the_next_frame(tmp_path: Path) -> None:
    file = video(tmp_path / "clip.mp4", [(0, 50), (9, 50)])
    watch = Watching(60)
    frames = SOURCES["file"](ask(file), watch)
    next(frames)
    began_s = time.monotonic()
    threading.Timer(0.1, watch.stop).start()
    list(frames)
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("content", [None, b"", b"no video", b"#EXTM3U\nhttp://127.0.0.1:1/x"])
def test_a_file_that_is_no_video_is_told_without_its_name(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "c4n4ry.m3u8"
    if content is not None:
        file.write_bytes(content)
    frames, end = played(ask(file))
    assert not frames
    assert end.startswith("SourceError: ")
    assert "c4n4ry" not in end


def test_a_cut_file_gives_what_it_has_and_ends(tmp_path: Path) -> None:
    whole = video(tmp_path / "whole.avi", [(index * 0.02, 90) for index in range(20)])
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[:-1500])
    frames, end = played(ask(cut))
    assert frames
    assert end.startswith(("SourceEnded", "SourceError"))


def test_the_demo_knows_how_many_there_are() -> None:
    frames, end = played(ask("demo:3", size=(64, 48)), most=2)
    assert end == ""
    assert frames[0].image_HW3.shape == (48, 64, 3)
    assert (frames[0].truth or 0) > 0


def test_a_demo_without_a_number_is_refused() -> None:
    assert played(ask("demo:x"))[1] == "SourceError: a demo's seed is a whole number, as in demo:7"


def test_the_demo_follows_a_rate_that_changes() -> None:
    def hurry(_: list[Frame], watch: Watching) -> None:
        watch.rate = 100

    began_s = time.monotonic()
    frames, _ = played(ask("demo", size=(64, 48), rate=0.5), most=3, each=hurry)
    assert len(frames) == 3
    assert time.monotonic() - began_s < 1.5


def fresh(times: list[float], packets: str) -> list[tuple[str, bool]]:
    """Each packet of a live stream, and whether it is fresh, by what the clock says each time."""
    clock = iter(times)
    came = arriving(packets, live=True, clock=lambda: next(clock))
    return [(one.packet, one.fresh) for one in came]


def test_what_a_live_stream_had_buffered_is_not_taken_for_fresh() -> None:
    times = [0.0, 0.001, 0.002, 0.003, 0.004, 0.044, 0.045, 0.046]
    assert fresh(times, "abc") == [("a", False), ("b", False), ("c", True)]


def test_a_backlog_that_is_never_caught_up_with_does_not_silence_a_camera() -> None:
    assert fresh([0.0, 0.001, 5.1, 5.101, 5.2], "ab") == [("a", False), ("b", True)]


def test_a_file_is_never_late() -> None:
    assert [one.fresh for one in arriving("a", live=False)] == [True]
