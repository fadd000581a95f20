"""`throng probe`: what is said of a camera, and that it is true."""

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console

from models.errors import SourceError
from service.ingest import Ask
from service.probe import Probe, probe, table
from tests.service.clips import Live, clip, serving

SAID = Probe(
    codec="h264", width=1920, height=1080, fps=25.0, keyframe_s=2.0, decoding="all",
    source_frames=150, frames=12, lost=0, cpu_ms_per_source_frame=3.7, core_percent=9.2,
)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 4, gop=5)


def test_a_camera_is_measured_for_so_long(file: Path) -> None:
    seconds: list[float] = []
    with serving(Live, file.parent) as address:
        said = probe(Ask(f"{address}/0.5/clip.mp4", rate=5), 1.4, tick=seconds.append)
    assert (said.codec, said.width, said.height, said.decoding) == ("h264", 64, 48, "keyframes")
    assert (said.fps, said.keyframe_s, said.keyframe_rate) == (25.0, 0.2, 5.25)
    assert 35 <= said.source_frames <= 65
    assert said.frames == pytest.approx(7, abs=2)
    assert said.lost == 0
    assert 0 < (said.cpu_ms_per_source_frame or 0) < 20
    assert 0 < (said.core_percent or 0) < 50
    assert seconds == sorted(seconds)
    assert 1.2 < seconds[-1] <= 1.4


def test_a_file_that_ends_early_is_enough(tmp_path: Path) -> None:
    said = probe(Ask(str(clip(tmp_path / "short.mp4", 0.4, gop=5)), rate=5), 30)
    assert said.source_frames == 10
    assert said.fps is None


def test_the_demo_can_be_probed() -> None:
    said = probe(Ask("demo", size=(64, 48), rate=20), 0.3)
    assert (said.codec, said.decoding) == ("drawn", "all")
    assert said.frames == pytest.approx(6, abs=2)


def test_what_cannot_be_opened_is_an_error_of_the_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no such file"):
        probe(Ask(str(tmp_path / "none.mp4")), 1)


def printed(said: Probe, source: str) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table(said, Ask(source)))
    return captured.get()


def test_the_table_hints_at_the_rate_that_would_be_cheap_and_hides_the_login() -> None:
    text = printed(SAID, "rtsp://user:c4n4ry@camera/live?key=c4n4ry")
    assert "rtsp://***@camera/***" in text
    assert "c4n4ry" not in text
    assert "1920 x 1080" in text
    assert "at 2 a second" in text
    assert "up to --rate 0.52 key frames alone would do" in text


def test_the_table_says_what_is_not_known_and_where_nothing_can_be_saved() -> None:
    unknown = dataclasses.replace(SAID, fps=None, keyframe_s=None)
    assert "not known yet" in printed(unknown, "rtsp://camera/live")
    assert "ask for more --seconds" in printed(unknown, "rtsp://camera/live")
    assert "hint" not in printed(dataclasses.replace(SAID, decoding="keyframes"), "demo")
