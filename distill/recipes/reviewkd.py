"""ReviewKD's table on 1/4-CSRNet: {plain, instruction, review, both}, and 0, 1 or 2 reviews.

The controls are `quarter`, `reviewkd-untaught`, which has labels alone in two stages, as the rows
with an instruction have, and `third`, whose compute is 1.76 times that of `quarter` (two reviews:
1.65). Rows with an instruction start from an encoder that was instructed for `INSTRUCTION_STEPS`
and have so many steps less: every student of this table sees the same number of crops.

The review as a plug-in: nets that have learned go on with it, CSRNet and the `throng-m` that ships
(`runs/throng-m/last.safetensors`, and that of `throng-m-1`, is then
`deploy/zoo/throng-m/weights.safetensors`).
"""

from dataclasses import replace
from typing import Any

from distill.recipes import Recipe, Teacher
from distill.recipes.skt import START_STEPS, csrnet, quarter, skt_untaught
from distill.recipes.throng_m import throng_m

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


def reviewkd_untaught() -> Recipe:
    """1/4-CSRNet with labels alone in the two stages of reviewkd-instruct: its control."""
    return replace(quarter(), starts_from="skt-untaught", steps=START_STEPS - skt_untaught().steps)


def csrnet_review() -> Recipe:
    """The review as a plug-in: the trained heavy net goes on with it."""
    return _plugged_in(csrnet(), starts_from="csrnet", passes=1)


def csrnet_again() -> Recipe:
    """Its control: the heavy net goes on for as long without a review."""
    return _plugged_in(csrnet(), starts_from="csrnet", passes=0)


def throng_m_review() -> Recipe:
    """The same with the student that ships: throng-m goes on with a review."""
    return _plugged_in(throng_m(), starts_from="throng-m", passes=1)


def throng_m_again() -> Recipe:
    """Its control: throng-m goes on for as long without a review."""
    return _plugged_in(throng_m(), starts_from="throng-m", passes=0)


def _plugged_in(learned: Recipe, *, starts_from: str, passes: int) -> Recipe:
    """The run of that name, which is of this recipe, goes on slowly."""
    goes_on = replace(
        learned,
        trunk_weights="",
        frozen=tuple(f"net.{name}" for name in learned.frozen),
        starts_from=starts_from,
        steps=HEAVY_STEPS,
        rate=HEAVY_RATE,
        warmup=100,
        average=0.995,  # over a fifth of these steps: little is left of what it started from
        evaluate_every=HEAVY_STEPS // 2,
    )
    return _reviewed(goes_on, passes=passes, method="review")


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
    arguments: dict[str, Any] = {"net": recipe.net, **recipe.net_arguments, "passes": passes}
    return replace(recipe, net="reviewed", net_arguments=arguments, method=method)
