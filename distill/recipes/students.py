"""The product students, taught: features first, then maps from a bank, then labels alone.

Each chain sees as many crops as its control, throng-s-alone (18,000 x 16) and throng-m (24,000 x
16, with what it starts from). The bank is made before, by `throng-distill bank throng-s-banked`;
throng-m-banked draws from the same.
"""

from dataclasses import replace

from distill.recipes import Part, Recipe, Teacher
from distill.recipes._pack import TRAIN, VALIDATE

INSTRUCTED, BANKED, FINISHED = 4_000, 8_000, 6_000  # steps of throng-s
BANKED_M, FINISHED_M = 12_000, 12_000
BATCH = 16
FINISH_RATE, FINISH_TRUNK_RATE = 3e-4, 5e-5

RENDERED = Part("pack", "train_rendered", weight=0.10, labelled=False)
"""Its points are approximate: teachers say more of it."""
EVERY = (*TRAIN, RENDERED)
TEACHERS = {"wide": Teacher("teacher-wide"), "deep": Teacher("teacher-deep")}


def throng_s_instructed() -> Recipe:
    """The encoder of throng-s by the features of teacher-deep; no label, no count is learned."""
    return Recipe(
        net="throng-s",
        train=tuple(replace(part, labelled=False) for part in EVERY),
        validate=VALIDATE,
        method="reviewkd",
        method_arguments={
            "review": 0.0, "student_latent": "body", "teacher_latent": "merged",
        },
        teachers={"teacher": Teacher("teacher-deep")},
        steps=INSTRUCTED,
        batch=BATCH,
        average=0.999,
        evaluate_every=INSTRUCTED,
    )  # fmt: skip


def throng_s_banked() -> Recipe:
    """throng-s goes on with the maps of both teachers, and labels where there are some."""
    return replace(_banked(), net="throng-s", starts_from="throng-s-instructed", steps=BANKED)


def throng_s() -> Recipe:
    """The fast student: throng-s-banked, finished by labels alone."""
    return Recipe(
        net="throng-s",
        train=TRAIN,
        validate=VALIDATE,
        starts_from="throng-s-banked",
        steps=FINISHED,
        batch=BATCH,
        rate=FINISH_RATE,
        average=0.999,
    )


def throng_m_banked() -> Recipe:
    """throng-m from ImageNet weights by the maps of both teachers, and labels where there are."""
    return replace(
        _banked(),
        trunk_weights="weights/resnet18_bnfolded_to_layer3.npz",
        frozen=("trunk.conv1", "trunk.layer1"),
    )


def throng_m_distilled() -> Recipe:
    """throng-m-banked loses its second block at stride 4 and is finished by labels alone."""
    return replace(
        throng_m_banked(),
        net_arguments={"blocks": (1, 2, 2)},
        frozen=("trunk.conv1",),
        train=TRAIN,
        method="supervised",
        teachers={},
        bank="",
        starts_from="throng-m-banked",
        steps=FINISHED_M,
        rate=FINISH_RATE,
        trunk_rate=FINISH_TRUNK_RATE,  # ImageNet weights stay named: they give the trunk its rate
    )


def _banked() -> Recipe:
    return Recipe(
        net="throng-m",
        train=EVERY,
        validate=VALIDATE,
        method="soft",
        teachers=TEACHERS,
        bank="bank",
        steps=BANKED_M,
        batch=BATCH,
        average=0.999,
    )
