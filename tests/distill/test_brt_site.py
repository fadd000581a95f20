import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from distill.brt_site import lay_out, shown_to, site
from distill.crops import samples_of
from distill.recipes import Part, recipe
from distill.site import read_labels, read_site
from models.checkpoint import save_checkpoint
from models.errors import DataError
from models.nets import NETS

SMALL = {"width": 8}


@pytest.fixture
def brt(tmp_path: Path) -> Path:
    """Forty frames of the first camera, four of the second; frame i has i % 3 heads."""
    folder = tmp_path / "data/train_brt"
    (folder / "images").mkdir(parents=True)
    names = [f"brt_1-{i:03}" for i in range(40)] + [f"brt_2-{i:03}" for i in range(4)]
    heads = {name: i % 3 for i, name in enumerate(names)}
    for name in names:
        cv2.imwrite(str(folder / f"images/{name}.jpg"), np.zeros((64, 80, 3), np.uint8))
    points = {name: np.full((number, 2), 8, np.float32) for name, number in heads.items()}
    np.savez(folder / "points.npz", **points)  # type: ignore[arg-type]  # names are its arguments
    rows = "".join(f"{name},80,64,{number}\n" for name, number in heads.items())
    (folder / "index.csv").write_text(f"id,width,height,count\n{rows}")
    return folder.parent


def _checkpoint(path: Path, facts: dict[str, object]) -> Path:
    save_checkpoint(
        path, NETS["throng-s"](**SMALL), name="throng-s", arguments=SMALL,
        facts=json.loads(json.dumps(facts)),
    )  # fmt: skip
    return path


def test_a_camera_becomes_a_site_that_is_judged_by_the_rest_of_its_day(
    brt: Path, tmp_path: Path
) -> None:
    of = replace(recipe("throng-s-alone-start"), train=(Part("pack", "train", prefix="sha_"),))
    student = _checkpoint(tmp_path / "best.safetensors", {"recipe": asdict(of)})
    site(brt, student, tmp_path / "out")
    frames = tmp_path / "out/frames"
    labels, judge = (
        dict(read_labels(path)) for path in (frames / "labels.csv", tmp_path / "out/judge.csv")
    )
    assert len(list(frames.glob("*.jpg"))) == 40
    assert len(labels) == 10
    assert sorted(judge) == [f"brt_1-{i:03}.jpg" for i in range(24, 40)]
    assert max(labels) < min(judge)
    assert {name: len(points) for name, points in (labels | judge).items()} == {
        name: int(name[6:9]) % 3 for name in labels | judge
    }
    found = read_site(frames, labels, judge=judge, most=99, box=None)
    assert (len(found.learned), len(found.held), len(found.unlabelled)) == (7, 3, 14)


def test_frames_that_the_student_was_trained_on_are_in_neither(brt: Path, tmp_path: Path) -> None:
    seen = replace(recipe("throng-s-alone-start"), train=(Part("pack", "train_brt", fold="held"),))
    student = _checkpoint(tmp_path / "best.safetensors", {"recipe": asdict(seen)})
    site(brt, student, tmp_path / "out")
    names = {path.stem for path in (tmp_path / "out/frames").glob("*.jpg")}
    shown = {sample.id for sample in samples_of(seen.train[0], brt)}
    assert len(names) == 35
    assert not names & shown


def test_what_teachers_and_forebears_saw_counts_as_seen() -> None:
    """throng-s was finished by labels; its forebears saw rendered crowds, too."""
    shown = set(shown_to(json.loads(json.dumps(asdict(recipe("throng-s"))))))
    assert {part.split for part in shown} >= {"train", "train_brt", "train_rendered"}
    assert "train_brt" not in {part.split for part in shown_to(asdict(recipe("skt")))}


def test_a_checkpoint_that_does_not_say_what_it_saw_is_refused(brt: Path, tmp_path: Path) -> None:
    student = _checkpoint(tmp_path / "best.safetensors", {})
    with pytest.raises(DataError, match="does not say what it was trained on"):
        site(brt, student, tmp_path / "out")


def test_too_few_frames_or_a_folder_in_use_are_refused(brt: Path, tmp_path: Path) -> None:
    whole = samples_of(Part("pack", "train_brt"), brt)
    with pytest.raises(DataError, match="4 frames that nobody was trained on: wanted 20"):
        lay_out(whole[40:], tmp_path / "out")
    lay_out(whole[:40], tmp_path / "out")
    with pytest.raises(DataError, match="choose another"):
        lay_out(whole[:40], tmp_path / "out")
