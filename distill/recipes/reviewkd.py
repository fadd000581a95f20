"""ReviewKD's table on 1/4-CSRNet: {plain, instruction, review, both}, and 0, 1 or 2 reviews.

The controls are `quarter`, and `third`, whose compute is 1.76 times that (two reviews: 1.65). Rows
with an instruction start from an encoder that was instructed for `INSTRUCTION_STEPS` and have so
many steps less: every student of this table sees the same number of crops.
"""

from dataclasses import replace
from typing import Any

from distill.recipes import Recipe, Teacher
from distill.recipes.skt import FROZEN, START_STEPS, csrnet, quarter

INSTRUCTION_STEPS = START_STEPS // 4
HEAVY_STEPS, HEAVY_RATE = 1_000, 5e-5
INSTRUCT = 100.0  # chi sums over 1,024 cells, the instruction is a mean: gradients of one order


def reviewkd_review() -> Recipe:
    """A review without instruction."""
    return _reviewed(quarter(), passes=1, method="review")


def instructed() -> Recipe:
    """The encoder alone, by the teacher's latent: it sees no label and learns no count."""
    return replace(
        quarter(),
        method="reviewkd",
        method_arguments={"instruct": INSTRUCT, "review": 0.0},
        teachers={"teacher": Teacher("csrnet")},
        steps=INSTRUCTION_STEPS,
        evaluate_every=INSTRUCTION_STEPS,
    )


def reviewkd_instruct() -> Recipe:
    """An instruction without review."""
    return _both(passes=0)


def reviewkd() -> Recipe:
    """Both: the method."""
    return _both(passes=1)


def reviewkd_twice() -> Recipe:
    """Both, with two reviews."""
    return _both(passes=2)


def csrnet_review() -> Recipe:
    """The review as a plug-in: the trained heavy net goes on with it."""
    goes_on = replace(
        csrnet(),
        trunk_weights="",
        frozen=tuple(f"net.{name}" for name in FROZEN),
        starts_from="csrnet",
        steps=HEAVY_STEPS,
        rate=HEAVY_RATE,
        evaluate_every=500,
    )
    return _reviewed(goes_on, passes=1, method="review")


def csrnet_again() -> Recipe:
    """Its control: the heavy net goes on for as long without a review."""
    return _reviewed(csrnet_review(), passes=0, method="review")


def _both(*, passes: int) -> Recipe:
    taught = replace(
        instructed(),
        method_arguments={"instruct": INSTRUCT},
        starts_from="instructed",
        steps=START_STEPS - INSTRUCTION_STEPS,
        evaluate_every=quarter().evaluate_every,
    )
    return _reviewed(taught, passes=passes, method="reviewkd")


def _reviewed(recipe: Recipe, *, passes: int, method: str) -> Recipe:
    arguments: dict[str, Any] = {"net": "csrnet", **recipe.net_arguments, "passes": passes}
    return replace(recipe, net="reviewed", net_arguments=arguments, method=method)
