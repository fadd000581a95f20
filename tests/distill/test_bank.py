import json
import resource
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from distill.augment import Augmentation
from distill.bank import BankCrops, make_bank
from distill.crops import AHEAD, CropMaker, Crops
from distill.loop import Learner
from distill.recipes import Part, Recipe, Teacher
from distill.run import train
from distill.views import looked_over
from models.checkpoint import load_checkpoint, save_checkpoint
from models.errors import ConfigError, DataError
from models.nets import NETS, Pixels

SMALL = {"width": 8}
CROPS = 10
Make = Callable[..., Path]


class PowerCut(Exception):  # noqa: N818  # an event
    """The machine goes off."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A data pack of four soft pictures with ten heads each."""
    rng, folder = np.random.default_rng(0), tmp_path / "pack/train"
    (folder / "images").mkdir(parents=True)
    names = [f"sha_{number}" for number in range(4)]
    for name in names:
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"images/{name}.jpg"), cv2.resize(coarse, (120, 96)))
    points = {name: (rng.random((10, 2)) * (120, 96)).astype(np.float32) for name in names}
    np.savez(folder / "points.npz", **points)  # type: ignore[arg-type]  # names are no options
    rows = "".join(f"{name},120,96,10\n" for name in names)
    (folder / "index.csv").write_text(f"id,width,height,count\n{rows}")
    return tmp_path / "pack"


@pytest.fixture
def taught(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """tiny, with two narrow teachers whose runs lie in `tmp_path`; shards have four crops."""
    monkeypatch.setattr("distill.bank.SHARD", 4)
    monkeypatch.setattr("distill.bank.bf16_pays", lambda _: False)
    for seed, run in enumerate(("broad", "profound")):
        _teach(tmp_path / run, seed=seed)
    teachers = {"wide": Teacher("broad"), "deep": Teacher("profound")}
    parts = (Part("pack", "train"), Part("pack", "train", labelled=False))
    return replace(tiny, train=parts, method="soft", teachers=teachers, bank="bank")


def _teach(run: Path, *, seed: int) -> None:
    torch.manual_seed(seed)
    run.mkdir(exist_ok=True)
    net = NETS["throng-s"](**SMALL)
    for name in ("best", "last"):
        facts = {"step": 1, "recipe": {"steps": 1}}
        path = run / f"{name}.safetensors"
        save_checkpoint(path, net, name="throng-s", arguments=SMALL, facts=facts)


@pytest.fixture
def make(taught: Recipe, pictures: Path, tmp_path: Path) -> Make:
    def made(
        recipe: Recipe = taught, *, name: str = "bank", crops: int = CROPS,
        scales: Sequence[float] = (1.0, 1.5),
    ) -> Path:  # fmt: skip
        return make_bank(
            recipe, data=pictures, runs=tmp_path, out=tmp_path / name, crops=crops, scales=scales
        )

    return made


def _drawn(recipe: Recipe, bank: Path, steps: int = 20) -> list[Crops]:
    return list(BankCrops(recipe, folder=bank, stride=8).ahead(range(steps)))


def _shards(bank: Path) -> list[dict[str, Tensor]]:
    return [load_file(path) for path in sorted(bank.glob("*.safetensors"))]


def test_a_bank_holds_as_many_crops_as_it_was_asked_for(make: Make) -> None:
    bank = make()
    assert [len(shard["labelled"]) for shard in _shards(bank)] == [4, 4, 2]
    assert {path.name for path in bank.iterdir()} == {
        "bank.json", *(f"shard-0000{number}.safetensors" for number in range(3)),
    }  # fmt: skip


def test_its_crops_are_those_that_a_crop_maker_cuts(
    taught: Recipe, make: Make, pictures: Path
) -> None:
    shard = _shards(make())[1]
    maker = CropMaker.of(replace(taught, batch=4), data=pictures, stride=8)
    cut = maker.batch(1)
    assert torch.equal(shard["labelled"], cut.labelled_N)
    assert torch.equal(shard["points"], torch.cat(list(cut.points)))
    assert set(shard["labelled"].tolist()) == {True, False}
    crops = _drawn(replace(taught, batch=1), make(name="one", crops=1))
    first = maker.batch(0).frames_NHW3[:1]
    for drawn in crops:
        both = torch.stack([first, first.flip(2)])
        off = (both.float() - drawn.frames_NHW3.float()).abs().mean(dim=(1, 2, 3, 4)).min()
        assert off < 4  # grey levels: that is JPEG


@pytest.mark.parametrize("scales", [(1.0, 1.5), (1.0,)])
def test_its_maps_are_what_its_teachers_see_in_the_stored_frames(
    taught: Recipe, make: Make, tmp_path: Path, scales: tuple[float, ...]
) -> None:
    make(scales=scales)
    for crops in _drawn(taught, tmp_path / "bank", steps=5):
        assert set(crops.taught_N1hw) == {"wide", "deep"}
        for role, taught_N1hw in crops.taught_N1hw.items():
            net = load_checkpoint(tmp_path / taught.teachers[role].run / "best.safetensors").net
            seen = looked_over(net, Pixels(net).normalise(crops.frames_NHW3), scales=scales)
            assert torch.allclose(taught_N1hw, seen, rtol=1e-3, atol=1e-4)


def test_a_mirrored_crop_is_mirrored_with_its_heads_and_its_maps(
    taught: Recipe, make: Make
) -> None:
    labelled = replace(taught, train=taught.train[:1], batch=1)
    crops = _drawn(labelled, make(labelled, crops=1))
    plain, mirrored = crops[0], next(
        other for other in crops if not torch.equal(other.frames_NHW3, crops[0].frames_NHW3)
    )  # fmt: skip
    assert torch.equal(mirrored.frames_NHW3, plain.frames_NHW3.flip(2))
    for role, map_N1hw in plain.taught_N1hw.items():
        assert torch.equal(mirrored.taught_N1hw[role], map_N1hw.flip(3))
    x, y = plain.points[0].T
    assert torch.allclose(mirrored.points[0], torch.stack([64 - x, y], dim=1))
    assert torch.allclose(mirrored.density_N1hw, plain.density_N1hw.flip(3), atol=1e-6)


def test_a_batch_of_a_bank_is_a_pure_function_of_seed_and_step(taught: Recipe, make: Make) -> None:
    bank = make()
    maker, other = (BankCrops(taught, folder=bank, stride=8) for _ in range(2))
    maker.batch(0)  # what was drawn before does not matter
    assert torch.equal(maker.batch(3).frames_NHW3, other.batch(3).frames_NHW3)
    frames = [maker.batch(step).frames_NHW3 for step in range(5, 5 + 2 * AHEAD)]
    ahead = [crops.frames_NHW3 for crops in other.ahead(range(5, 5 + 2 * AHEAD))]
    assert all(map(torch.equal, ahead, frames))
    assert not all(torch.equal(frame, frames[0]) for frame in frames)


def test_every_crop_of_a_bank_is_drawn(taught: Recipe, make: Make) -> None:
    frames = torch.cat([crops.frames_NHW3 for crops in _drawn(taught, make(), steps=60)])
    seen = {min(f.numpy().tobytes(), f.flip(1).contiguous().numpy().tobytes()) for f in frames}
    assert len(seen) == CROPS


def test_a_student_learns_from_a_bank_without_its_teachers(taught: Recipe, make: Make) -> None:
    recipe = replace(taught, teachers={"teacher": Teacher("broad")})
    student = NETS[recipe.net](**recipe.net_arguments)
    learner = Learner.of(recipe, student)
    said = learner.step(_drawn(recipe, make(recipe))[0], number=0, bf16=False)
    assert said["soft_cells"] > 0
    assert said["gradient"] > 0


def test_a_control_learns_from_the_same_crops_without_the_maps(taught: Recipe, make: Make) -> None:
    bank = make()
    alone = replace(taught, method="supervised", teachers={})
    first, same = _drawn(taught, bank)[0], _drawn(alone, bank)[0]
    assert torch.equal(first.frames_NHW3, same.frames_NHW3)
    learner = Learner.of(alone, NETS[alone.net](**alone.net_arguments))
    assert set(learner.step(same, number=0, bf16=False)) == {"cells", "counts", "gradient"}


def test_a_bank_cut_short_goes_on_and_ends_as_one_never_cut(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = CropMaker.batch

    def powered(maker: CropMaker, step: int) -> Crops:
        if step == 2:
            raise PowerCut
        return batch(maker, step)

    with monkeypatch.context() as off:
        off.setattr(CropMaker, "batch", powered)
        with pytest.raises(PowerCut):
            make()
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "bank").iterdir()}
    assert len(there) == 3
    make()
    assert all(path.stat().st_mtime_ns == written for path, written in there.items())
    for file in make(name="whole").iterdir():
        assert file.read_bytes() == (tmp_path / "bank" / file.name).read_bytes()


def test_a_finished_bank_is_not_made_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    monkeypatch.setattr(CropMaker, "__init__", lambda *_, **__: pytest.fail("it cuts crops"))
    make()


@contextmanager
def _no_file_over(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("room", "file", "left"), [(4096, "shard-00000", ["bank.json"]), (100, "bank.json", [])]
)
def test_where_there_is_no_room_for_a_file_no_half_of_it_is_left(
    make: Make, tmp_path: Path, room: int, file: str, left: list[str]
) -> None:
    with (
        _no_file_over(room),
        pytest.raises(DataError, match=rf"{file}.* cannot be written .*make room"),
    ):
        make()
    assert [path.name for path in (tmp_path / "bank").iterdir()] == left
    assert len(_shards(make())) == 3


def test_a_bank_that_is_not_finished_is_refused(taught: Recipe, make: Make) -> None:
    bank = make()
    (bank / "shard-00001.safetensors").unlink()
    with pytest.raises(DataError, match=r"shard-00001.* is missing: .* goes on with it"):
        BankCrops(taught, folder=bank, stride=8)


def test_a_broken_shard_is_refused_by_name(taught: Recipe, make: Make) -> None:
    path = make() / "shard-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"shard-00002.* is broken .*remove it"):
        BankCrops(taught, folder=path.parent, stride=8)


@pytest.mark.parametrize("said", ["[1, 2]", "{}", "{", "null"])
def test_a_folder_that_describes_no_bank_is_refused(taught: Recipe, make: Make, said: str) -> None:
    bank = make()
    (bank / "bank.json").write_text(said)
    with pytest.raises(DataError, match="does not describe a bank"):
        BankCrops(taught, folder=bank, stride=8)


def test_a_bank_that_was_never_made_is_an_error_that_says_how(
    taught: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no bank at .*: first `throng-distill bank RECIPE`"):
        BankCrops(taught, folder=tmp_path / "nowhere", stride=8)


def test_the_bank_of_another_recipe_is_refused(taught: Recipe, make: Make) -> None:
    bank = make()
    other = replace(taught, augmentation=Augmentation(crop_px=64, flip=0.1), train=taught.train[:1])
    with pytest.raises(DataError, match="another train and augmentation"):
        BankCrops(other, folder=bank, stride=8)
    with pytest.raises(DataError, match="another teachers"):
        BankCrops(replace(taught, teachers={"wide": Teacher("broad")}), folder=bank, stride=8)
    BankCrops(replace(taught, seed=5, steps=9, net="throng-m"), folder=bank, stride=8)


def test_a_bank_is_not_gone_on_with_by_other_teachers(
    taught: Recipe, make: Make, tmp_path: Path
) -> None:
    bank = make()
    facts = json.loads((bank / "bank.json").read_text())
    assert facts["checksums"].keys() == {"wide", "deep"}
    with pytest.raises(DataError, match="a bank of another crops and scales"):
        make(crops=CROPS + 1, scales=(1.0,))
    _teach(tmp_path / "broad", seed=7)
    with pytest.raises(DataError, match="a bank of another checksums: choose another --out"):
        make()


def test_a_teacher_without_a_checkpoint_is_an_error_and_nothing_is_written(
    taught: Recipe, make: Make, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "broad")
    with pytest.raises(DataError, match="no finished run at"):
        make()
    assert not (tmp_path / "bank").exists()


def test_a_bank_of_nobody_s_lessons_or_of_no_crop_is_refused(taught: Recipe, make: Make) -> None:
    with pytest.raises(ConfigError, match="recipe that has teachers"):
        make(replace(taught, teachers={}))
    with pytest.raises(ConfigError, match="ask for one or more"):
        make(crops=0)


def test_the_smoke_form_of_a_taught_recipe_can_be_banked(taught: Recipe, make: Make) -> None:
    fresh = replace(taught, teachers={"teacher": Teacher("throng-s-alone", fresh=True)})
    assert json.loads((make(fresh, crops=2) / "bank.json").read_text())["checksums"] == {
        "teacher": "fresh"
    }


def test_a_run_draws_from_the_bank_of_its_recipe(
    taught: Recipe, make: Make, pictures: Path, tmp_path: Path, undrawn: None
) -> None:
    with pytest.raises(DataError, match="no bank at"):
        train(taught, data=pictures, out=tmp_path / "run")
    make()
    best = train(taught, data=tmp_path / "nowhere", out=tmp_path / "run")  # no picture is read
    assert load_checkpoint(best).facts["step"] == 6
