"""throng-s, the fast student: throng-m's features first, then labels; and its control, which has
labels alone for the same four runs.

It starts from ImageNet weights behind a first layer of its own. So its trunk learns faster than
throng-m's does: what follows a new layer must learn to read it.
"""

from dataclasses import replace

from distill.augment import AS_SEEN, HARSH, MIXED
from distill.recipes import Recipe, Teacher
from distill.recipes._pack import EVERY, TRAIN, VALIDATE

INSTRUCTED, FIRST, SECOND, THIRD = 2_000, 12_000, 8_000, 12_000  # steps
TAUGHT, FINISH = 6_000, 3_000


def throng_s_alone_start() -> Recipe:
    """Labels for as many crops as throng-s-instructed sees."""
    return Recipe(
        net="throng-s",
        train=TRAIN,
        validate=VALIDATE,
        trunk_weights="weights/resnet18_bnfolded_to_layer3.npz",
        steps=INSTRUCTED,
        batch=16,
        trunk_rate=5e-4,
        average=0.999,
        evaluate_every=INSTRUCTED,
    )


def throng_s_instructed() -> Recipe:
    """The encoder by the features of throng-m (ReviewKD's first phase); no label is looked at."""
    return replace(
        throng_s_alone_start(),
        train=tuple(replace(part, labelled=False) for part in EVERY),
        method="reviewkd",
        method_arguments={
            "review": 0.0, "student_latent": "merged", "teacher_latent": "merged",
        },
        teachers={"teacher": Teacher("throng-m-whole")},
    )  # fmt: skip


def throng_s_first() -> Recipe:
    """throng-s-instructed goes on with labels."""
    return _first("throng-s-instructed")


def throng_s_alone_first() -> Recipe:
    """throng-s-alone-start goes on with labels."""
    return _first("throng-s-alone-start")


def throng_s_second() -> Recipe:
    """throng-s-first goes on with labels, more slowly."""
    return _second("throng-s-first")


def throng_s_alone_second() -> Recipe:
    """throng-s-alone-first goes on with labels, more slowly."""
    return _second("throng-s-alone-first")


def throng_s() -> Recipe:
    """throng-s-second goes on with pictures that nothing has softened."""
    return _third("throng-s-second")


def throng_s_alone() -> Recipe:
    """throng-s-alone-second goes on so, too: the control of throng-s."""
    return _third("throng-s-alone-second")


def _first(start: str) -> Recipe:
    return replace(throng_s_alone_start(), starts_from=start, steps=FIRST, evaluate_every=2_000)


def _second(start: str) -> Recipe:
    return replace(
        throng_s_alone_start(),
        starts_from=start,
        steps=SECOND,
        rate=5e-4,
        trunk_rate=2e-4,
        evaluate_every=SECOND // 2,
    )


def _third(start: str) -> Recipe:
    return replace(_second(start), steps=THIRD, augmentation=AS_SEEN, evaluate_every=2_000)


def throng_s_taught() -> Recipe:
    """throng-s goes on by the maps of throng-m on crops that no picture holds, and by labels."""
    return replace(
        throng_s_mixed(), train=EVERY, method="soft", teachers={"teacher": Teacher("throng-m")}
    )


def throng_s_mixed() -> Recipe:
    """throng-s goes on so by labels alone: the control of throng-s-taught."""
    return replace(
        throng_s_alone_start(),
        starts_from="throng-s",
        steps=TAUGHT,
        augmentation=MIXED,
        evaluate_every=1_000,
    )


def throng_s_finished() -> Recipe:
    """throng-s-taught goes on with labels alone, slowly, on crops as they are."""
    return _finish("throng-s-taught")


def throng_s_mixed_finished() -> Recipe:
    """throng-s-mixed goes on so, too: the control of throng-s-finished."""
    return _finish("throng-s-mixed")


def throng_s_harsh() -> Recipe:
    """The mean of throng-s-finished and its control goes on with crops of bad light and cameras."""
    return replace(
        _third("throng-s-finished"),
        averaged_with=("throng-s-mixed-finished",),
        steps=6_000,
        warmup=200,
        augmentation=HARSH,
    )


def throng_s_steady() -> Recipe:
    """The mean of throng-s-finished and throng-s-harsh goes on slowly, with such crops."""
    return replace(
        _finish("throng-s-finished"), averaged_with=("throng-s-harsh",), augmentation=HARSH
    )


def _finish(start: str) -> Recipe:
    return replace(
        _third(start), steps=FINISH, rate=2.5e-4, trunk_rate=1e-4, warmup=100, evaluate_every=1_500
    )
