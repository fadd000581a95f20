"""The teachers of the product students, and the losses they were chosen among.

Folded trunks are shaken loose by a high rate at the start (gradients ten times as long as later,
and a bias of +60 on crowds after 15,000 crops), so theirs is low and the warm-up long.
"""

from dataclasses import replace

from distill.recipes import Recipe
from distill.recipes._pack import TRAIN, VALIDATE

STEPS, BATCH, WARMUP = 6_000, 8, 1_000
RATE, TRUNK_RATE = 1e-3, 5e-5


def teacher_wide() -> Recipe:
    """ResNet50 from ImageNet weights on the whole data pack."""
    return _teacher("resnet50")


def teacher_deep() -> Recipe:
    """DenseNet169 from ImageNet weights on the whole data pack."""
    return _teacher("densenet169")


def teacher_wide_poisson() -> Recipe:
    """teacher-wide by the Poisson likelihood."""
    return _by(teacher_wide(), loss="poisson")


def teacher_wide_bayesian() -> Recipe:
    """teacher-wide by the Bayesian loss."""
    return _by(teacher_wide(), loss="bayesian")


def teacher_wide_dmcount() -> Recipe:
    """teacher-wide by DM-Count."""
    return _by(teacher_wide(), loss="dmcount")


def teacher_wide_zip() -> Recipe:
    """teacher-wide by the zero-inflated Poisson likelihood."""
    return _by(teacher_wide(), loss="zip")


def _teacher(net: str) -> Recipe:
    return Recipe(
        net=net,
        train=TRAIN,
        validate=VALIDATE,
        trunk_weights=f"weights/{net}_to_conv4.npz",
        steps=STEPS,
        batch=BATCH,
        rate=RATE,
        trunk_rate=TRUNK_RATE,
        warmup=WARMUP,
    )


def _by(recipe: Recipe, *, loss: str) -> Recipe:
    return replace(recipe, method_arguments={"loss": loss})
