"""ReviewKD's table on 1/4-CSRNet: {plain, instruction, review, both}, and 0, 1 or 2 reviews.

Pictures, rates and the control are those of SKT's table. Rows with an instruction start from an
encoder that was instructed for `INSTRUCTION_STEPS` and have so many steps less: every student of
this table sees the same number of crops.
"""

from dataclasses import replace
from typing import Any

from distill.recipes import Recipe, Teacher
from distill.recipes.skt import FROZEN, csrnet, skt_plain

STEPS = 4_000
INSTRUCTION_STEPS = 1_000
HEAVY_STEPS, HEAVY_RATE = 2_500, 5e-5
INSTRUCT = 100.0  # chi sums over 1,024 cells, the instruction is a mean: gradients of one order


def reviewkd_plain() -> Recipe:
    """No teacher, no review: the control."""
    return replace(skt_plain(), steps=STEPS, evaluate_every=1_000)


def reviewkd_plain_1() -> Recipe:
    """Its second seed."""
    return replace(reviewkd_plain(), seed=1)


def reviewkd_plain_2() -> Recipe:
    """Its third seed."""
    return replace(reviewkd_plain(), seed=2)


def reviewkd_wider() -> Recipe:
    """Plain at 1/3 of the channels: 1.76 times the compute, more than the 1.65 of two reviews."""
    return replace(reviewkd_plain(), net_arguments={"ratio": 3})


def reviewkd_review() -> Recipe:
    """A review without instruction."""
    return _reviewed(reviewkd_plain(), passes=1, method="review")


def instructed() -> Recipe:
    """The encoder alone, by the teacher's latent: it sees no label and learns no count."""
    return replace(
        reviewkd_plain(),
        method="reviewkd",
        method_arguments={"instruct": INSTRUCT, "review": 0.0},
        teachers={"teacher": Teacher("csrnet")},
        steps=INSTRUCTION_STEPS,
        evaluate_every=INSTRUCTION_STEPS,
    )


def instructed_1() -> Recipe:
    """Its second seed."""
    return replace(instructed(), seed=1)


def instructed_2() -> Recipe:
    """Its third seed."""
    return replace(instructed(), seed=2)


def reviewkd_instruct() -> Recipe:
    """An instruction without review."""
    return _both(passes=0)


def reviewkd() -> Recipe:
    """Both: the method."""
    return _both(passes=1)


def reviewkd_1() -> Recipe:
    """Its second seed."""
    return replace(reviewkd(), seed=1, starts_from="instructed-1")


def reviewkd_2() -> Recipe:
    """Its third seed."""
    return replace(reviewkd(), seed=2, starts_from="instructed-2")


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
        steps=STEPS - INSTRUCTION_STEPS,
        evaluate_every=1000,
    )
    return _reviewed(taught, passes=passes, method="reviewkd")


def _reviewed(recipe: Recipe, *, passes: int, method: str) -> Recipe:
    arguments: dict[str, Any] = {"net": "csrnet", **recipe.net_arguments, "passes": passes}
    return replace(recipe, net="reviewed", net_arguments=arguments, method=method)
