import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill import adapt as adapting
from distill.adapt import ITSELF, Measured, Outcome, adapted, claim, keep, site_recipe
from distill.augment import Augmentation
from distill.crops import CropMaker
from distill.loop import Learner
from distill.recipes import Recipe
from distill.site import Site, SiteFrame
from models.checkpoint import Checkpoint, load_checkpoint
from models.errors import ConfigError, DataError
from models.nets import NETS, CountingNet
from models.nets.throng_s import ThrongS

SMALL: dict[str, Any] = {"width": 8}
CELLS = 64


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("distill.adapt.bf16_pays", lambda _: False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _net(people: float, *, blind: bool = False) -> ThrongS:
    """Counts about `people` in a frame of 64 x 64; a blind one counts that in every frame."""
    torch.manual_seed(0)
    net = NETS["throng-s"](**SMALL).eval()
    assert isinstance(net, ThrongS)
    if blind:
        torch.nn.init.zeros_(net.head.out.weight)
    net.head.out.bias.data.fill_(people / CELLS)  # type: ignore[union-attr]  # on by default
    return net


def _student(people: float, **facts: Any) -> Checkpoint:
    return Checkpoint(_net(people), "throng-s", SMALL, facts)


def _frames(kind: str, heads: list[int]) -> list[SiteFrame]:
    """Dark frames with a bright spot at each head."""
    frames = []
    for number, many in enumerate(heads):
        rng = np.random.default_rng(number)
        points_P2 = rng.uniform(4, 60, (many, 2)).astype(np.float32)
        image_HW3 = np.full((64, 64, 3), 30, np.uint8)
        for x, y in points_P2.astype(int):
            image_HW3[y - 2 : y + 3, x - 2 : x + 3] = 220
        name = f"{kind}-{number}.jpg"
        frames.append(SiteFrame(f"site_{name}", Path(name), points_P2, image_HW3))
    return frames


@pytest.fixture
def site() -> Site:
    """Three heads a frame, more or less."""
    return Site(
        learned=_frames("learned", [3, 2, 4]),
        held=_frames("held", [2, 3, 4]),
        unlabelled=_frames("unlabelled", [3, 3]),
        judge=_frames("judge", [4, 3]),
        skipped=["broken.jpg"],
    )


def _recipe(student: Checkpoint, **changed: Any) -> Recipe:
    recipe = site_recipe(student, teachers={}, steps=15)
    still = Augmentation(crop_px=64, scale=(1, 1), grey=0, colour=0)
    return replace(recipe, augmentation=still, batch=4, warmup=1, **changed)


def _outcome(site: Site, *, before: float, after: float) -> Outcome:
    nets = (_net(before, blind=True), _net(after, blind=True))
    return Outcome.of(site, before=nets[0], after=nets[1], facts={"steps": 15})


def test_a_student_that_sees_too_many_learns_how_many_the_site_has(site: Site) -> None:
    student = _student(30)
    net = adapted(student, site, teachers={}, recipe=_recipe(student, rate=3e-3, average=0.5))
    held = Measured.of(site.held, before=student.net, after=net)
    assert held.before.mae > 15
    assert held.after.mae < held.before.mae / 2
    assert held.better == 3
    assert not net.training


def test_the_student_that_came_stays_as_it_is(site: Site) -> None:
    student = _student(30)
    before = copy.deepcopy(student.net.state_dict())
    adapted(student, site, teachers={}, recipe=_recipe(student))
    assert all(torch.equal(value, before[key]) for key, value in student.net.state_dict().items())
    assert not student.net.training


def test_without_teachers_its_own_moving_average_teaches_and_the_student_as_it_came(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One moves on with the student, the other remembers what few labels would make it forget."""
    said: dict[str, list[float]] = {"deeper": [], "wider": []}
    step = Learner.step

    def watched(learner: Learner, *arguments: Any, **named: Any) -> dict[str, float]:
        for role, teacher in learner.teachers.items():
            assert isinstance(teacher, ThrongS)
            said[role].append(float(teacher.head.out.bias[0]))  # type: ignore[index]  # on by default
        return step(learner, *arguments, **named)

    monkeypatch.setattr(Learner, "step", watched)
    student = _student(30)
    adapted(student, site, teachers={}, recipe=_recipe(student, rate=3e-3, average=0.5))
    assert said["deeper"][0] == pytest.approx(30 / CELLS)
    assert len(set(said["deeper"])) == 15
    assert said["wider"] == [said["deeper"][0]] * 15


def test_given_teachers_stay_as_they_are(site: Site) -> None:
    student = _student(30)
    teachers: dict[str, CountingNet] = {"deeper": _net(3), "wider": _net(4)}
    before = {role: copy.deepcopy(net.state_dict()) for role, net in teachers.items()}
    adapted(student, site, teachers=teachers, recipe=_recipe(student))
    for role, net in teachers.items():
        assert all(torch.equal(net.state_dict()[key], before[role][key]) for key in before[role])


def test_held_out_and_judging_frames_are_never_cut(site: Site) -> None:
    dark = [replace(f, image_HW3=np.zeros((64, 64, 3), np.uint8)) for f in site.unlabelled]
    recipe = _recipe(_student(3))
    maker = CropMaker(recipe, [site.learned, dark], stride=8)
    for crops in maker.ahead(range(4)):
        bright = crops.frames_NHW3.amax(dim=(1, 2, 3)) > 0
        assert torch.equal(bright, crops.labelled_N)
        assert torch.equal(crops.heads_N1hw.sum(dim=(1, 2, 3)) > 0, crops.labelled_N)


def test_what_the_student_s_recipe_froze_stays_frozen_and_teachers_are_named() -> None:
    student = _student(3, recipe={"frozen": ["stem."]})
    assert site_recipe(student, teachers={}, steps=9).frozen == ("stem.",)
    alone = site_recipe(student, teachers={}, steps=9)
    assert {role: teacher.run for role, teacher in alone.teachers.items()} == ITSELF
    named = {"deeper": "a.safetensors", "wider": "b.safetensors"}
    teachers = site_recipe(student, teachers=named, steps=9).teachers
    assert {role: teacher.run for role, teacher in teachers.items()} == named


@pytest.mark.parametrize("roles", [["deeper"], ["deeper", "longer"], ["deeper", "wider", "more"]])
def test_other_teachers_than_the_method_wants_are_refused(roles: list[str]) -> None:
    with pytest.raises(ConfigError, match="wanted deeper and wider, or none"):
        site_recipe(_student(3), teachers=dict.fromkeys(roles, "a"), steps=9)


def test_both_are_measured_on_the_same_frames(site: Site) -> None:
    """Held out are 2, 3 and 4 heads: counts of 6 are off by 4 3 2, counts of 4 by 2 1 0."""
    held = _outcome(site, before=6, after=4).held
    assert (held.before.mae, held.after.mae) == pytest.approx((3, 1))
    assert held.difference.mean == pytest.approx(-2)
    assert (held.difference.low, held.difference.high) == pytest.approx((-2, -2))
    assert held.better == 3
    assert held.frames[0]["picture"] == "site_held-0.jpg"
    assert held.frames[0]["true"] == 2


def test_a_student_that_is_not_worse_is_written_and_can_be_loaded(
    site: Site, tmp_path: Path
) -> None:
    student, net = _student(6, step=7), _net(4, blind=True)
    outcome = _outcome(site, before=6, after=4)
    path = keep(net, student, recipe=_recipe(student), outcome=outcome, out=tmp_path)
    found = load_checkpoint(path)
    assert all(torch.equal(found.net.state_dict()[k], v) for k, v in net.state_dict().items())
    assert found.facts["adapted_from"] == {"step": 7}
    assert found.facts["recipe"]["method"] == "mgd"
    said = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert not said["refused"]
    assert said["frames"] == {"learned": 3, "held": 3, "unlabelled": 2, "judge": 2}
    assert said["held"]["after"]["mae"] == pytest.approx(1)
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("# Adapted")
    assert "1 could not be read" in page
    assert "| held out, the gate | 3 | 3.00 | 1.00 | +3.00 | +1.00 | 3 | -2.00 (" in page
    assert "| for judging alone | 2 | 2.50 | 0.50 |" in page


def test_the_gate_lets_an_equal_student_pass(site: Site, tmp_path: Path) -> None:
    outcome = _outcome(site, before=4, after=4)
    student = _student(4)
    assert keep(_net(4), student, recipe=_recipe(student), outcome=outcome, out=tmp_path).exists()


def test_the_gate_refuses_a_student_that_is_worse_and_leaves_only_the_report(
    site: Site, tmp_path: Path
) -> None:
    student = _student(4)
    outcome = _outcome(site, before=4, after=6)
    with pytest.raises(DataError, match=r"refused: MAE 3.00 on 3 held-out frames, it was 1.00"):
        keep(_net(6), student, recipe=_recipe(student), outcome=outcome, out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
    assert (tmp_path / "report.md").read_text().startswith("# Refused")


def test_a_full_disk_leaves_nothing_half_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.tensors.save_file", full)
    student = _student(6)
    outcome = _outcome(site, before=6, after=4)
    with pytest.raises(DataError, match=r"adapted.safetensors cannot be written.*No space left"):
        keep(_net(4), student, recipe=_recipe(student), outcome=outcome, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_site_without_judging_frames_is_measured_by_the_gate_alone(site: Site) -> None:
    outcome = _outcome(replace(site, judge=[]), before=6, after=4)
    assert outcome.judged is None
    assert "judging" not in adapting._page(outcome)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    claim(tmp_path / "new/one")
    claim(tmp_path / "new/one")  # it is there, and empty
    (tmp_path / "new/one/report.md").write_text("# Adapted")
    with pytest.raises(DataError, match="is not an empty folder"):
        claim(tmp_path / "new/one")
    with pytest.raises(DataError, match="is not an empty folder"):
        claim(tmp_path / "new/one/report.md")
