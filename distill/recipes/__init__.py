"""Recipes: a run is a Python function that returns a `Recipe`; a variation calls another.

`recipe("name")` finds a function of that name in any file of this folder; `recipe("name-2")` is the
same with seed 2.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from distill.augment import Augmentation
from models.errors import ConfigError
from models.plugins import functions_of

Fold = Literal["all", "train", "held"]
SEEDS = tuple("123456789")


@dataclass(frozen=True)
class Part:
    """Some pictures of a data set, and how often a crop comes from them.

    `fold` keeps every eighth picture ("held") apart from the others ("train"); `prefix` picks ids,
    and so does `listed` (only these) and `unlisted` (all but these): names of lists in
    `distill/lists`. `folder` is where the data set lies, below `--data`.
    """

    dataset: str
    split: str
    weight: float = 1.0
    folder: str = "."
    prefix: str = ""
    fold: Fold = "all"
    listed: str = ""
    unlisted: str = ""
    labelled: bool = True
    """Without labels, pictures are shown to the student and its teachers, and no head is."""


@dataclass(frozen=True)
class Teacher:
    """The student of another run: the best checkpoint of the recipe of that name.

    Its folder is a neighbour of the run's own. A fresh one has random weights (smoke runs).
    """

    run: str
    fresh: bool = False


@dataclass(frozen=True)
class Recipe:
    """All that decides what a run does. Its JSON goes into the run's folder."""

    net: str
    train: tuple[Part, ...]
    validate: tuple[Part, ...]
    steps: int
    net_arguments: Mapping[str, Any] = field(default_factory=dict)
    method: str = "supervised"
    method_arguments: Mapping[str, Any] = field(default_factory=dict)
    trunk_weights: str = ""
    """A file below `--data` that starts `net.trunk`; empty: from scratch."""
    starts_from: str = ""
    """A run whose last weights start the student."""
    averaged_with: tuple[str, ...] = ()
    """Runs whose last weights are averaged with those (model soups, Wortsman et al., 2022)."""
    teachers: Mapping[str, Teacher] = field(default_factory=dict)
    """By the role that the method calls them by."""
    bank: str = ""
    """Crops and lessons come from this bank (a neighbour of the run's folder), made before."""
    frozen: tuple[str, ...] = ()
    """Parameters whose names start so keep their first values."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch: int = 8
    optimiser: Literal["adamw", "adam"] = "adamw"
    """`adam` adds weight decay to the gradient, as published code of 2020 does."""
    decay: Literal["cosine", "constant"] = "cosine"
    rate: float = 1e-3
    trunk_rate: float = 1e-4
    warmup: int = 500
    weight_decay: float = 1e-4
    clip: float = 50.0
    average: float = 0.998
    """Decay of the moving average of the weights; only the average is ever evaluated."""
    evaluate_every: int = 2000
    seed: int = 0

    @property
    def starts(self) -> tuple[str, ...]:
        """The runs that the student has its first weights from."""
        return (self.starts_from, *self.averaged_with) if self.starts_from else ()

    def smoke(self) -> "Recipe":
        """A few steps from scratch on drawn pictures: shows that the line runs, needs no data."""
        drawn = (Part("plaza", "smoke"),)
        unlabelled = tuple(replace(part, labelled=False) for part in drawn)
        hidden = any(not part.labelled for part in self.train)
        fresh = {role: replace(teacher, fresh=True) for role, teacher in self.teachers.items()}
        small = replace(
            self,
            train=drawn + unlabelled * hidden,
            validate=drawn,
            trunk_weights="",
            starts_from="",
            averaged_with=(),
            bank="",
            frozen=(),
        )
        tiny = replace(self.augmentation, crop_px=64)
        return replace(
            small, teachers=fresh, augmentation=tiny, steps=6, warmup=2, batch=2, evaluate_every=3
        )


def recipes() -> dict[str, Callable[[], Recipe]]:
    """Every public function in this folder's files, by name."""
    return functions_of(__name__)


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError.

    `NAME-2` is NAME with seed 2: it goes on from its start with seed 2, and has the same teachers.
    `NAME-smoke` is its smoke variant.
    """
    known, full = recipes(), name.removesuffix("-smoke")
    first, _, seed = full.rpartition("-")
    if full in known:
        found = known[full]()
    elif first in known and seed in SEEDS:
        found = _seeded(known[first](), seed)
    else:
        raise ConfigError(f"no recipe {name!r}; there are {', '.join(sorted(known))}")
    return found if name == full else found.smoke()


def _seeded(one: Recipe, seed: str) -> Recipe:
    start = f"{one.starts_from}-{seed}" if one.starts_from else ""
    others = tuple(f"{name}-{seed}" for name in one.averaged_with)
    return replace(one, seed=int(seed), starts_from=start, averaged_with=others)


def same(stored: Mapping[str, Any], wanted: Recipe) -> bool:
    """Whether a recipe that lies as JSON on the disk is this one.

    One of an older commit has the defaults of what has come since.
    """
    try:
        found = Recipe(
            **{
                **stored,
                "train": tuple(Part(**part) for part in stored["train"]),
                "validate": tuple(Part(**part) for part in stored["validate"]),
                "teachers": {r: Teacher(**t) for r, t in stored.get("teachers", {}).items()},
                "augmentation": Augmentation(**stored["augmentation"]),
            }
        )
    except (KeyError, TypeError):
        return False
    return _described(found) == _described(wanted)


def _described(one: Recipe) -> str:
    return json.dumps(asdict(one), sort_keys=True)
