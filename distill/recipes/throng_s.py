"""throng-s: the fast student, from scratch."""

from distill.recipes import Recipe
from distill.recipes._pack import TRAIN, VALIDATE


def throng_s_alone() -> Recipe:
    """Labels only, no teacher and no initial weights: the control of every distilled throng-s."""
    return Recipe(
        net="throng-s",
        train=TRAIN,
        validate=VALIDATE,
        steps=18_000,
        batch=16,
        average=0.999,
        evaluate_every=3000,
    )
