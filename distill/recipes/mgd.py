"""MGD's table: throng-m with 5, 10 or 40 % of the labels of parts A and B, and its controls.

Students see as many crops in every row, half of them without labels but in `supervised`; those of
`labelled` see the labelled half alone, which shows what the other half adds. Teachers see labelled
pictures alone, as many crops of them as MGD's student: published ones learn without labels, too, by
cross pseudo supervision, and ours by the mean teacher came out no better than the student alone
(`distill/results/2026-11-22T165344-mgd.md`). What is chosen by `val` is chosen by more labels than
5 % are, as published numbers are too: each run keeps its last checkpoint beside its best.
"""

from dataclasses import replace

from distill.augment import AS_SEEN
from distill.recipes import Part, Recipe, Teacher

STEPS, WARMUP, BATCH = 1_000, 100, 16  # 45 minutes of a core in all for a share of the labels,
TEACHER_BATCH, TEACHER_TRUNK_RATE = 8, 5e-5  # and 30 for its teachers, with bf16
LABELLED = 0.5  # of the crops of a batch, on average
PARTS = {"sha_": 0.6, "shb_": 0.4}
WEIGHTS = {"image": 1.0, "levels": 1.0}  # by now the defaults
VALIDATE = tuple(Part("pack", "val", prefix=prefix) for prefix in PARTS)


def supervised_5() -> Recipe:
    """The labelled pictures alone."""
    return _student(5)


def supervised_10() -> Recipe:
    """The labelled pictures alone."""
    return _student(10)


def supervised_40() -> Recipe:
    """The labelled pictures alone."""
    return _student(40)


def labelled_5() -> Recipe:
    """As many labelled crops as the rows below see, and no others."""
    return replace(_student(5), batch=round(LABELLED * BATCH))


def labelled_10() -> Recipe:
    """As many labelled crops as the rows below see, and no others."""
    return replace(_student(10), batch=round(LABELLED * BATCH))


def labelled_40() -> Recipe:
    """As many labelled crops as the rows below see, and no others."""
    return replace(_student(40), batch=round(LABELLED * BATCH))


def mean_teacher_5() -> Recipe:
    """The student's own average as its teacher."""
    return _mean_teacher(5)


def mean_teacher_10() -> Recipe:
    """The student's own average as its teacher."""
    return _mean_teacher(10)


def mean_teacher_40() -> Recipe:
    """The student's own average as its teacher."""
    return _mean_teacher(40)


def mgd_5() -> Recipe:
    """Two teachers of the same labels."""
    return _mgd(5)


def mgd_10() -> Recipe:
    """Two teachers of the same labels."""
    return _mgd(10)


def mgd_40() -> Recipe:
    """Two teachers of the same labels."""
    return _mgd(40)


def mgd_deeper_5() -> Recipe:
    """The deeper teacher."""
    return _teacher(5, net="densenet169")


def mgd_deeper_10() -> Recipe:
    """The deeper teacher."""
    return _teacher(10, net="densenet169")


def mgd_deeper_40() -> Recipe:
    """The deeper teacher."""
    return _teacher(40, net="densenet169")


def mgd_wider_5() -> Recipe:
    """The wider teacher."""
    return _teacher(5, net="resnet50")


def mgd_wider_10() -> Recipe:
    """The wider teacher."""
    return _teacher(10, net="resnet50")


def mgd_wider_40() -> Recipe:
    """The wider teacher."""
    return _teacher(40, net="resnet50")


def _student(percent: int) -> Recipe:
    return Recipe(
        net="throng-m",
        train=_labelled(percent),
        validate=VALIDATE,
        trunk_weights="weights/resnet18_bnfolded_to_layer3.npz",
        frozen=("trunk.conv1", "trunk.layer1"),
        augmentation=AS_SEEN,
        steps=STEPS,
        warmup=WARMUP,
        batch=BATCH,
        evaluate_every=STEPS // 2,
    )


def _mean_teacher(percent: int) -> Recipe:
    every = _labelled(percent) + _unlabelled(percent)
    return replace(_student(percent), train=every, method="mean-teacher")


def _mgd(percent: int) -> Recipe:
    teachers = {role: Teacher(f"mgd-{role}-{percent}") for role in ("deeper", "wider")}
    return replace(
        _mean_teacher(percent),
        method="mgd",
        method_arguments={"weights": WEIGHTS},
        teachers=teachers,
    )


def _teacher(percent: int, *, net: str) -> Recipe:
    return Recipe(
        net=net,
        train=_labelled(percent),
        validate=VALIDATE,
        trunk_weights=f"weights/{net}_to_conv4.npz",
        augmentation=AS_SEEN,
        steps=STEPS,
        warmup=WARMUP,
        batch=TEACHER_BATCH,
        trunk_rate=TEACHER_TRUNK_RATE,
        evaluate_every=STEPS,  # once: by which weights a student is taught, no label chose
    )


def _labelled(percent: int) -> tuple[Part, ...]:
    return tuple(
        Part("pack", "train", LABELLED * weight, prefix=prefix, listed=f"sha-shb-{percent}")
        for prefix, weight in PARTS.items()
    )


def _unlabelled(percent: int) -> tuple[Part, ...]:
    name = f"sha-shb-{percent}"
    return tuple(
        Part("pack", "train", (1 - LABELLED) * weight, prefix=p, unlisted=name, labelled=False)
        for p, weight in PARTS.items()
    )
