"""Each published layout is written here as its authors publish it, tiny, and read back."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from distill.data import DATASETS, Points, Sample
from models.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data"
ON_DISK = [name for name in DATASETS.names() if name != "plaza"]  # the plaza is drawn, not read

Heads = Mapping[int, Points]
Write = Callable[[Path, str, Heads], None]


def points(*pairs: tuple[float, float]) -> Points:
    return np.array(pairs, np.float32).reshape(-1, 2)


HEADS = {
    10: points((1.5, 2.0)),
    2: points((3.0, 4.0), (3.0, 4.0), (-1.0, 99.5)),  # a duplicate, and one outside the picture
    1: points(),
}


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((6, 8, 3), 128, np.uint8))


def mat(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def write_shanghaitech(part: str, truth: str = "ground_truth") -> Write:
    def write(root: Path, split: str, heads: Heads) -> None:
        folder = root / part / f"{split}_data"
        for number, points_P2 in heads.items():
            cell = np.empty((1, 1), object)
            cell[0, 0] = {"location": points_P2.astype(float), "number": float(len(points_P2))}
            picture(folder / f"images/IMG_{number}.jpg")
            mat(folder / truth / f"GT_IMG_{number}.mat", {"image_info": cell})

    return write


def write_ucf_qnrf(root: Path, split: str, heads: Heads) -> None:
    for number, points_P2 in heads.items():
        stem = root / split.title() / f"img_{number:04d}"
        picture(stem.with_suffix(".jpg"))
        mat(Path(f"{stem}_ann.mat"), {"annPoints": points_P2.astype(float)})


def write_nwpu(*, jsons: bool, parts: bool) -> Write:
    def write(root: Path, split: str, heads: Heads) -> None:
        for number, points_P2 in heads.items():
            picture(
                root / (f"images_part{number % 5 + 1}" if parts else "images") / f"{number:04d}.jpg"
            )
            if jsons:
                content = {"img_id": f"{number:04d}.jpg", "points": points_P2.tolist()}
                text(root / f"jsons/{number:04d}.json", json.dumps(content))
            else:
                content = {"annPoints": points_P2.astype(float), "annBoxes": np.zeros((0, 4))}
                mat(root / f"mats/{number:04d}.mat", content)
        text(root / f"{split}.txt", "".join(f"{number:04d} 2 1\n" for number in heads))

    return write


def write_jhu(root: Path, split: str, heads: Heads) -> None:
    for number, points_P2 in heads.items():
        picture(root / split / f"images/{number:04d}.jpg")
        lines = (f"{x:g} {y:g} 12 15 1 0\n" for x, y in points_P2)
        text(root / split / f"gt/{number:04d}.txt", "".join(lines))


def write_pack(root: Path, split: str, heads: Heads) -> None:
    folder = root / split
    for number in heads:
        picture(folder / f"images/web_{number:03d}.jpg")
    some = {f"web_{number:03d}": points_P2 for number, points_P2 in heads.items() if len(points_P2)}
    np.savez(folder / "points.npz", **some)  # type: ignore[arg-type]
    with (folder / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "width", "height", "count", "dropped_points", "sha256"])
        rows.writerows([f"web_{n:03d}", 8, 6, len(p), 0, "0" * 64] for n, p in heads.items())


LAYOUTS: dict[str, tuple[str, Write, str]] = {
    "A": ("shanghaitech-a", write_shanghaitech("part_A"), "sha_train_{:03d}"),
    "A final": ("shanghaitech-a", write_shanghaitech("part_A_final"), "sha_train_{:03d}"),
    "B dash": ("shanghaitech-b", write_shanghaitech("part_B", "ground-truth"), "shb_train_{:03d}"),
    "qnrf": ("ucf-qnrf", write_ucf_qnrf, "qnrf_train_{:04d}"),
    "nwpu mats": ("nwpu", write_nwpu(jsons=False, parts=True), "nwpu_{:04d}"),
    "nwpu jsons": ("nwpu", write_nwpu(jsons=True, parts=False), "nwpu_{:04d}"),
    "jhu": ("jhu", write_jhu, "jhu_{:04d}"),
    "pack": ("pack", write_pack, "web_{:03d}"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_layout_gives_every_head_in_order_of_id(tmp_path: Path, layout: str) -> None:
    name, write, id_format = LAYOUTS[layout]
    write(tmp_path, "train", HEADS)
    samples = DATASETS[name](tmp_path, "train")
    assert [sample.id for sample in samples] == [id_format.format(n) for n in sorted(HEADS)]
    for sample, number in zip(samples, sorted(HEADS), strict=True):
        assert sample.points_P2.dtype == np.float32
        np.testing.assert_array_equal(sample.points_P2, HEADS[number])
        assert sample.count == len(HEADS[number])
        assert sample.read().shape == (6, 8, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reading_the_heads_never_opens_a_picture(tmp_path: Path, layout: str) -> None:
    name, write, _ = LAYOUTS[layout]
    write(tmp_path, "train", HEADS)
    for path in tmp_path.rglob("*.jpg"):
        path.write_bytes(b"")
    assert len(DATASETS[name](tmp_path, "train")) == len(HEADS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_picture_is_named(tmp_path: Path, layout: str) -> None:
    name, write, _ = LAYOUTS[layout]
    write(tmp_path, "train", HEADS)
    lost = sorted(tmp_path.rglob("*.jpg"))[0]
    lost.unlink()
    with pytest.raises(DataError, match=lost.name):
        DATASETS[name](tmp_path, "train")


@pytest.mark.parametrize("keep", [0, 3, 400])
def test_a_picture_that_is_cut_off_is_named(tmp_path: Path, keep: int) -> None:
    """Half of it would be grey, with heads."""
    path = tmp_path / "sha_1.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    sample = Sample("sha_1", path, np.zeros((1, 2), np.float32))
    assert sample.read().shape == (64, 64, 3)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"sha_1.jpg is not a picture that can be read"):
        sample.read()


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "pack"])
def test_a_missing_annotation_is_named(tmp_path: Path, layout: str) -> None:
    name, write, _ = LAYOUTS[layout]
    write(tmp_path, "train", HEADS)
    lost = annotations(tmp_path)[0]
    lost.unlink()
    with pytest.raises(DataError, match=lost.name if "json" not in layout else lost.stem):
        DATASETS[name](tmp_path, "train")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("keep", [0.0, 0.7])
def test_a_broken_annotation_is_named(tmp_path: Path, layout: str, keep: float) -> None:
    name, write, _ = LAYOUTS[layout]
    write(tmp_path, "train", HEADS)
    broken = annotations(tmp_path)[-1]
    content = broken.read_bytes()
    broken.write_bytes(content[: int(len(content) * keep)] + b"\xff\x00")
    with pytest.raises(DataError) as caught:
        DATASETS[name](tmp_path, "train")
    assert str(broken) in str(caught.value)
    assert "\n" not in str(caught.value)


def annotations(root: Path) -> list[Path]:
    """Every file with points; lists and indices lie in the folders' tops and are not among them."""
    found = [*root.rglob("*.mat"), *root.rglob("*.json"), *root.rglob("gt/*.txt")]
    return sorted([*found, *root.rglob("points.npz")])


@pytest.mark.parametrize("raw", [[[1.0, 2.0, 3.0]], [1.0, 2.0], [[1.0], [2.0, 3.0]], [["x", "y"]]])
def test_points_that_are_not_pairs_are_refused(tmp_path: Path, raw: object) -> None:
    write_nwpu(jsons=True, parts=True)(tmp_path, "val", {7: points()})
    text(tmp_path / "jsons/0007.json", json.dumps({"points": raw}))
    with pytest.raises(DataError, match=r"0007\.json"):
        DATASETS["nwpu"](tmp_path, "val")


def test_a_mat_file_without_its_key_is_named(tmp_path: Path) -> None:
    write_ucf_qnrf(tmp_path, "test", HEADS)
    mat(tmp_path / "Test/img_0002_ann.mat", {"points": points((1, 2))})
    with pytest.raises(DataError, match=r"img_0002_ann\.mat.*annPoints"):
        DATASETS["ucf-qnrf"](tmp_path, "test")


def test_a_jhu_line_with_a_column_too_few_is_refused(tmp_path: Path) -> None:
    write_jhu(tmp_path, "val", HEADS)
    text(tmp_path / "val/gt/0002.txt", "3 4 12 15 1\n")
    with pytest.raises(DataError, match=r"0002\.txt.*x y w h occlusion blur"):
        DATASETS["jhu"](tmp_path, "val")


def test_other_files_beside_the_pictures_are_left_alone(tmp_path: Path) -> None:
    write_ucf_qnrf(tmp_path, "train", HEADS)
    for stray in ("._img_0001.jpg", "img_0001_small.jpg", "Thumbs.db"):
        text(tmp_path / "Train" / stray, "")
    assert len(DATASETS["ucf-qnrf"](tmp_path, "train")) == len(HEADS)


def test_the_nwpu_test_split_says_that_it_has_no_annotation(tmp_path: Path) -> None:
    write_nwpu(jsons=False, parts=True)(tmp_path, "test", HEADS)
    with pytest.raises(DataError, match="no annotation for its test split"):
        DATASETS["nwpu"](tmp_path, "test")


def test_an_nwpu_list_without_ids_is_refused(tmp_path: Path) -> None:
    write_nwpu(jsons=False, parts=True)(tmp_path, "val", {})
    with pytest.raises(DataError, match=r"val\.txt is empty"):
        DATASETS["nwpu"](tmp_path, "val")


def test_a_pack_with_people_but_no_points_names_the_picture(tmp_path: Path) -> None:
    write_pack(tmp_path, "val", HEADS)
    np.savez(tmp_path / "val/points.npz", web_010=HEADS[10])
    with pytest.raises(DataError, match=r"points\.npz has no 'web_002'"):
        DATASETS["pack"](tmp_path, "val")


def test_a_pack_whose_count_is_not_the_number_of_points_is_refused(tmp_path: Path) -> None:
    write_pack(tmp_path, "val", HEADS)
    np.savez(tmp_path / "val/points.npz", web_010=HEADS[10], web_002=HEADS[10])
    with pytest.raises(DataError, match=r"1 points of 'web_002', index\.csv says 3"):
        DATASETS["pack"](tmp_path, "val")


def test_a_pack_without_points_names_the_file(tmp_path: Path) -> None:
    write_pack(tmp_path, "val", HEADS)
    (tmp_path / "val/points.npz").unlink()
    with pytest.raises(DataError, match=r"val/points\.npz is missing"):
        DATASETS["pack"](tmp_path, "val")


@pytest.mark.parametrize(
    "content", ["", "id,count\n", "id,count\na,1\na,1\n", "id\na\n", "id,count\na,x\n"]
)
def test_a_pack_with_a_bad_index_names_it(tmp_path: Path, content: str) -> None:
    write_pack(tmp_path, "val", HEADS)
    text(tmp_path / "val/index.csv", content)
    with pytest.raises(DataError, match=r"val/index\.csv"):
        DATASETS["pack"](tmp_path, "val")


def test_a_split_that_a_pack_does_not_have_is_answered_with_those_it_has(tmp_path: Path) -> None:
    write_pack(tmp_path, "val", HEADS)
    write_pack(tmp_path, "train_empty", {1: points()})
    with pytest.raises(DataError, match="no split 'train'; it has train_empty, val"):
        DATASETS["pack"](tmp_path, "train")


@pytest.mark.parametrize("name", ON_DISK)
def test_an_empty_folder_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        DATASETS[name](tmp_path, "train")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ON_DISK)
def test_folders_without_files_are_an_error_and_not_an_empty_set(tmp_path: Path, name: str) -> None:
    for _, write, _ in LAYOUTS.values():
        write(tmp_path, "train", HEADS)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.unlink()
    with pytest.raises(DataError, match=str(tmp_path)):
        DATASETS[name](tmp_path, "train")


@pytest.mark.parametrize("name", DATASETS.names())
def test_an_unknown_split_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no split 'tomorrow'"):
        DATASETS[name](tmp_path, "tomorrow")


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no pictures at {REAL}")
@pytest.mark.parametrize(
    ("split", "pictures", "heads"),
    [("train", 554, 167_632), ("val", 138, 40_448), ("train_empty", 288, 0)],
)
def test_the_real_pack_has_the_pictures_and_heads_it_states(
    split: str, pictures: int, heads: int
) -> None:
    samples = DATASETS["pack"](REAL, split)
    assert (len(samples), sum(sample.count for sample in samples)) == (pictures, heads)
    assert samples[0].read().shape[2] == 3
