"""Clips, and the floor that decoding them gives."""

from dataclasses import replace
from pathlib import Path

import av
import pytest

from models.errors import ConfigError, SourceError
from service.bench.clips import KEYFRAME_EVERY, SIZES, Clip, clip_of, drawn
from service.bench.floor import Decoded, decoded, floor_of, measure

CANARY = "c4n4ry"
TINY = Clip(160, 96, mbit_s=0.1, seconds=2.08)  # just beyond the second key frame
STREAM = Decoded(
    codec="h264", width=640, height=360, fps=25.0, keyframe_s=2.0, mbit_s=0.5, cpu_ms=0.4,
    key_cpu_ms=2.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(TINY, tmp_path_factory.mktemp("clips"))


def test_a_clip_is_coded_as_cameras_do_and_drawn_once(clip: Path) -> None:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        pictures = [picture for packet in container.demux(stream) for picture in packet.decode()]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == 25
        assert stream.codec_context.has_b_frames is False
    assert len(pictures) == 52
    assert [i for i, picture in enumerate(pictures) if picture.key_frame] == [0, KEYFRAME_EVERY]
    made = clip.stat()
    assert drawn(TINY, clip.parent).stat() == made
    assert list(clip.parent.iterdir()) == [clip]


def test_a_size_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"wanted one of {', '.join(SIZES)}"):
        clip_of("480p")


def test_a_stream_is_described_and_its_decoding_timed(clip: Path) -> None:
    one = decoded(str(clip), round_s=0.05)
    assert (one.codec, one.width, one.height) == ("h264", 160, 96)
    assert (one.fps, one.keyframe_s) == pytest.approx((25.0, 2.0))
    assert one.mbit_s == pytest.approx(TINY.mbit_s, rel=0.8)  # hardly a second's worth to settle in
    assert one.cpu_ms > 0
    assert one.key_cpu_ms > 0


def test_the_floor_is_what_all_cores_could_decode() -> None:
    floor = floor_of([[STREAM], [STREAM]])
    assert floor.cores == 2
    assert floor.cameras == pytest.approx(200)
    assert floor.keyframe_cameras == pytest.approx(2000)
    dearer = replace(STREAM, cpu_ms=1.2)  # every other camera
    assert floor_of([[STREAM, dearer], [STREAM, dearer]]).cameras == pytest.approx(100)


def test_what_cannot_be_read_is_told_without_its_address(tmp_path: Path) -> None:
    text = tmp_path / f"{CANARY}.mp4"
    text.write_text("no video")
    for source in (str(text), str(tmp_path / CANARY)):
        with pytest.raises(SourceError) as caught:
            decoded(source)
        assert CANARY not in str(caught.value)


def test_the_user_is_told_which_source_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SOURCE number 1: cannot be read: FileNotFoundError"):
        measure([str(tmp_path / CANARY)])
