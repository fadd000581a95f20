import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from distill.data import Points, Sample
from distill.site import Labels, Site, read_labels, read_site
from models.errors import DataError

SIZE_HW = (60, 80)


def _folder(folder: Path, number: int, ending: str = "jpg") -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(number):
        cv2.imwrite(
            str(folder / f"{i:02}.{ending}"), np.full((*SIZE_HW, 3), 10 * i % 256, np.uint8)
        )
    return folder


def _labels(*numbers: int) -> dict[str, Points]:
    return {f"{i:02}.jpg": np.full((i, 2), 30, np.float32) for i in numbers}


def _site(folder: Path, labels: Labels, *, judge: Labels | None = None, most: int = 99) -> Site:
    return read_site(folder, labels, judge=judge or {}, most=most, box=None)


def _names(frames: Sequence[Sample]) -> list[str]:
    return [frame.path.name for frame in frames]


def test_labels_of_both_layouts_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("picture,x,y\na.jpg,1.5,2\nb.jpg,,\na.jpg,3,4\n")
    (tmp_path / "a.json").write_text(json.dumps({"a.jpg": [[1.5, 2], [3, 4]], "b.jpg": []}))
    for path in (tmp_path / "a.csv", tmp_path / "a.json"):
        found = read_labels(path)
        assert {name: points.tolist() for name, points in found.items()} == {
            "a.jpg": [[1.5, 2], [3, 4]],
            "b.jpg": [],
        }
        assert all(points.shape[1:] == (2,) for points in found.values())


def test_a_csv_as_a_spreadsheet_writes_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("﻿picture,x,y,who\r\nä b.jpg,1,2,me\r\n".encode())
    assert read_labels(path)["ä b.jpg"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "name,left,top\na.jpg,1,2\n", "wanted picture,x,y"),
        ("a.csv", "", "wanted picture,x,y"),
        (
            "a.csv",
            "picture,x,y\na.jpg,1,2\na.jpg,1,\n",
            r"a.csv line 3: \('1', ''\) is not a point",
        ),
        ("a.csv", "picture,x,y\na.jpg,one,2\n", "line 2.*wanted two finite numbers"),
        ("a.csv", "picture,x,y\na.jpg,nan,2\n", "wanted two finite numbers"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[]", "wanted an object of lists"),
        ("a.json", '{"a.jpg": 3}', "wanted an object of lists"),
        ("a.json", '{"a.jpg": [[1, 2, 3]]}', r"a.jpg: \[1, 2, 3\] is not a point"),
        ("a.json", '{"a.jpg": ["12"]}', "'12' is not a point"),
        ("a.json", '{"a.jpg": [3]}', "3 is not a point"),
    ],
)
def test_labels_of_another_layout_are_refused_by_their_line(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        read_labels(tmp_path / name)


def test_labels_that_are_not_there_or_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.csv cannot be read"):
        read_labels(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"a.csv cannot be read"):
        read_labels(tmp_path / "a.csv")


@pytest.mark.parametrize(("labelled", "held"), [(6, 3), (7, 3), (9, 3), (10, 3), (12, 4), (31, 10)])
def test_every_third_labelled_frame_is_held_out_and_never_fewer_than_three(
    tmp_path: Path, labelled: int, held: int
) -> None:
    site = _site(_folder(tmp_path, labelled + 2), _labels(*range(labelled)))
    assert len(site.held) == held
    assert not set(_names(site.held)) & set(_names(site.learned))
    assert len(site.learned) + held == labelled
    places = [int(name[:2]) for name in _names(site.held)]
    gaps = np.diff([-1, *places, labelled])
    assert gaps.max() <= -(-labelled // held) + 1


def test_frames_come_with_their_own_points_and_the_others_with_none(tmp_path: Path) -> None:
    site = _site(_folder(tmp_path, 10), _labels(*range(6)), judge=_labels(8, 9))
    for frame in (*site.learned, *site.held, *site.judge):
        number = int(frame.path.name[:2])
        assert frame.count == number
        assert abs(int(frame.read().mean()) - 10 * number) <= 1
    assert _names(site.unlabelled) == ["06.jpg", "07.jpg"]
    assert _names(site.judge) == ["08.jpg", "09.jpg"]
    assert all(frame.count == 0 for frame in site.unlabelled)


def test_frames_without_labels_are_thinned_out_evenly(tmp_path: Path) -> None:
    site = _site(_folder(tmp_path, 16), _labels(*range(6)), most=5)
    assert _names(site.unlabelled) == ["06.jpg", "08.jpg", "10.jpg", "12.jpg", "14.jpg"]


def test_pictures_that_cannot_be_read_are_left_out_and_told(tmp_path: Path) -> None:
    folder = _folder(tmp_path, 12)
    whole = (folder / "03.jpg").read_bytes()
    (folder / "03.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "10.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    site = _site(folder, _labels(*range(8)))
    assert site.skipped == ["03.jpg", "10.jpg"]
    assert len(site.learned) + len(site.held) == 7
    assert _names(site.unlabelled) == ["08.jpg", "09.jpg", "11.jpg"]


def test_too_few_labelled_frames_are_refused_also_where_some_cannot_be_read(tmp_path: Path) -> None:
    folder = _folder(tmp_path, 12)
    with pytest.raises(DataError, match=r"5 labelled frames and 7 others.*wanted 6 or more"):
        _site(folder, _labels(*range(5)))
    (folder / "03.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="5 labelled frames"):
        _site(folder, _labels(*range(6)))
    with pytest.raises(DataError, match="0 others"):
        _site(folder, _labels(*range(12)))


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder of frames at .*nowhere"):
        _site(tmp_path / "nowhere", {})
    with pytest.raises(DataError, match=r"holds no picture: wanted \.bmp"):
        _site(tmp_path, {})


def test_labels_that_do_not_fit_the_pictures_are_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path, 8)
    with pytest.raises(DataError, match=r"labels name 2 pictures that .* has not: 40.jpg"):
        _site(folder, _labels(1, 40, 50))
    with pytest.raises(DataError, match=r"has not: 40\.jpg"):
        _site(folder, _labels(*range(6)), judge=_labels(40))
    with pytest.raises(DataError, match=r"03.jpg is labelled both"):
        _site(folder, _labels(*range(6)), judge=_labels(3))
    outside = {**_labels(*range(6)), "05.jpg": np.array([[5, 5], [81, 7]], np.float32)}
    with pytest.raises(DataError, match=r"05.jpg is labelled at \(81, 7\), outside its 80 x 60"):
        _site(folder, outside)


def test_points_on_the_edge_are_inside(tmp_path: Path) -> None:
    edge = {**_labels(*range(6)), "05.jpg": np.array([[0, 0], [80, 60]], np.float32)}
    site = _site(_folder(tmp_path, 8), edge)
    assert 2 in [frame.count for frame in (*site.learned[-1:], *site.held[-1:])]


def test_large_frames_are_scaled_into_the_box_with_their_heads(tmp_path: Path) -> None:
    folder = _folder(tmp_path, 8)
    for box, want in (((30, 400), (30, 40)), ((600, 800), SIZE_HW)):
        site = read_site(folder, _labels(*range(6)), judge={}, most=9, box=box)
        for frame in (*site.learned, *site.unlabelled):
            assert frame.read().shape == (*want, 3)
        assert site.held[0].points_P2.tolist() == [[30 * want[1] / 80, 30 * want[0] / 60]]


def test_a_turned_picture_is_read_as_a_viewer_shows_it(tmp_path: Path) -> None:
    from PIL import Image

    folder = _folder(tmp_path, 8)
    turned = Image.open(folder / "07.jpg")
    exif = turned.getexif()
    exif[0x0112] = 6  # rotate by 90 degrees to view
    turned.save(folder / "07.jpg", exif=exif)
    site = _site(folder, _labels(*range(6)))
    assert site.unlabelled[-1].read().shape == (80, 60, 3)
