import dataclasses
import json

import pytest
import torch

from distill.data import DATASETS
from distill.methods import METHODS
from distill.recipes import Recipe, recipe, recipes
from models.errors import ConfigError
from models.nets import NETS, CountingNet


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_names_parts_that_exist_and_says_what_it_is(name: str) -> None:
    found = recipe(name)
    student = NETS[found.net](**found.net_arguments)
    METHODS[found.method](**found.method_arguments)
    assert {part.dataset for part in found.train + found.validate} <= set(DATASETS.names())
    names = [key for key, _ in student.named_parameters()]
    assert all(any(key.startswith(frozen) for key in names) for frozen in found.frozen)
    assert found.augmentation.crop_px % student.spec.multiple == 0
    assert recipes()[name].__doc__


@pytest.mark.parametrize("name", recipes())
def test_a_method_finds_the_teachers_and_hints_that_it_wants(name: str) -> None:
    found = recipe(name)
    method = METHODS[found.method](**found.method_arguments)
    joint = len(method.roles) == 1 < len(found.teachers)  # the mean of several, without hints
    assert joint or set(method.roles) == set(found.teachers)
    teachers = {role: _shape(recipe(by.run)) for role, by in found.teachers.items()}
    method.meet(student=_shape(found), teachers={} if found.bank or joint else teachers)


def _shape(found: Recipe) -> CountingNet:
    """Its net with whatever numbers lie in memory: drawing them takes a second."""
    with torch.device("meta"):
        net = NETS[found.net](**found.net_arguments)
    return net.to_empty(device="cpu")


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_a_pure_function_and_fits_in_json(name: str) -> None:
    assert recipe(name) == recipe(name)
    described = json.dumps(dataclasses.asdict(recipe(name)))
    assert json.loads(described)["net"] == recipe(name).net


@pytest.mark.parametrize("name", recipes())
def test_no_recipe_trains_on_what_it_is_chosen_by(name: str) -> None:
    found = recipe(name)
    for a in found.train:
        for b in found.validate:
            same = (a.dataset, a.folder, a.split) == (b.dataset, b.folder, b.split)
            assert not same or {a.fold, b.fold} == {"train", "held"}


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_has_a_smoke_variant_that_needs_no_data(name: str) -> None:
    found = recipe(f"{name}-smoke")
    assert {part.dataset for part in found.train + found.validate} == {"plaza"}
    assert not found.trunk_weights
    assert found.steps < 20


def test_an_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'moon'; there are .*throng-m"):
        recipe("moon")


def test_a_name_with_a_digit_is_the_recipe_with_that_seed_and_the_start_of_that_seed() -> None:
    one, third = recipe("skt"), recipe("skt-2")
    assert third == dataclasses.replace(one, seed=2, starts_from="quarter-2")
    both = recipe("throng-s-harsh-1")
    assert both.starts == ("throng-s-finished-1", "throng-s-mixed-finished-1")
    assert recipe("quarter-1") == dataclasses.replace(recipe("quarter"), seed=1)
    assert recipe("skt-2-smoke") == dataclasses.replace(recipe("skt-smoke"), seed=2)


@pytest.mark.parametrize("name", ["skt-", "skt-12", "skt-0", "skt-1-1", "-1"])
def test_other_endings_are_no_seeds(name: str) -> None:
    with pytest.raises(ConfigError, match="no recipe"):
        recipe(name)


def test_a_share_of_labels_in_a_name_is_no_seed() -> None:
    assert recipe("mgd-5").seed == 0
    assert recipe("mgd-5-1").seed == 1


def test_a_recipe_cannot_be_altered() -> None:
    found: Recipe = recipe("throng-m")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.steps = 1  # type: ignore[misc]  # what the test is about


def test_a_smoke_run_of_what_learns_without_labels_sees_crops_without_them() -> None:
    for name in ("mgd-5", "mean-teacher-5", "throng-s-instructed"):
        assert any(not part.labelled for part in recipe(f"{name}-smoke").train), name
    assert all(part.labelled for part in recipe("supervised-5-smoke").train)
