"""SKT (Liu et al., ACM MM 2020) row by row: its three teachers, their quarter students alone, and
the same students taught.

Teaching is dear without a GPU, so a student is taught for a fifth of its crops. Those of most rows
learn from head points alone first, and go on from there taught or not: they have one start (a
seed), and then see the same crops in the same order. Others are taught first, from scratch, and go
on alone: they see as many crops, and counted better, though more than half of that came of the
order of their stages. So do the students of BL and SANet, whose controls have the same stages.
Published: taught from scratch, and to the end.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from distill.augment import Augmentation
from distill.recipes import Part, Recipe, Teacher

# A thread with bf16 sees 4 crops of 256 px a second while CSRNet learns, 30 while its quarter
# student does alone, 10 with the teacher's map, 6 with intra, 4 with inter, 2.6 with all of SKT.
BATCH = 8
TEACHER_STEPS, START_STEPS, STUDENT_STEPS = 4_000, 4_000, 1_000
START_RATE, STUDENT_RATE = 5e-4, 2.5e-4
TRANSFORM_RATE = 1e-3  # they start at random beside a student that has learned
PUBLISHED_STEPS = 24_000  # of one crop; published: 1.2 million

TRAIN = (
    Part("pack", "train", prefix="sha_", weight=0.55),
    Part("pack", "train", prefix="shb_", weight=0.45),
)
VALIDATE = (Part("pack", "val", prefix="sha_"), Part("pack", "val", prefix="shb_"))
FROZEN = ("trunk.conv1_1", "trunk.pool1", "trunk.pool2")
"""Saves a quarter of a step of a teacher; what it costs in accuracy has not been measured."""
VGG16 = "weights/vgg16_conv1_1_to_conv3_3_imagenet_fp16.npz"

CSRNET = ("conv1_1", "pool1", "pool2", "pool3", "back1", "back4")
BL = ("conv1_1", "pool1", "pool2", "pool3", "pool4", "reg1")  # not published: chosen alike
SANET = ("module1", "module2", "module3", "module4", "up1", "up2")  # the same


def csrnet() -> Recipe:
    """CSRNet, with ImageNet weights in seven of its ten first convolutions (published: in all): the
    teacher of 1/4-CSRNet.
    """
    return Recipe(
        net="csrnet",
        train=TRAIN,
        validate=VALIDATE,
        trunk_weights=VGG16,
        frozen=FROZEN,
        steps=TEACHER_STEPS,
        batch=BATCH,
        rate=3e-4,
        trunk_rate=5e-5,
    )


def quarter() -> Recipe:
    """1/4-CSRNet from scratch and head points alone: where the rows below start."""
    return _start({"ratio": 4})


def skt_plain() -> Recipe:
    """1/4-CSRNet goes on with head points alone: the control of every row below."""
    return _alone(quarter(), starts_from="quarter")


def skt_soft() -> Recipe:
    """1/4-CSRNet with the teacher's map."""
    return _taught(skt_plain(), by="csrnet", intra=0, inter=0)


def skt_fitnet() -> Recipe:
    """1/4-CSRNet with one layer of the teacher, the last before the back end (FitNets)."""
    return replace(skt_plain(), method="fitnet", teachers={"teacher": Teacher("csrnet")})


def skt_intra() -> Recipe:
    """1/4-CSRNet with the teacher's map and the patterns of six layers."""
    return _taught(skt_plain(), by="csrnet", inter=0)


def skt_inter() -> Recipe:
    """1/4-CSRNet with the teacher's map and the relations of six layers."""
    return _taught(skt_plain(), by="csrnet", intra=0)


def skt() -> Recipe:
    """1/4-CSRNet with all of SKT."""
    return _taught(skt_plain(), by="csrnet")


def skt_taught() -> Recipe:
    """1/4-CSRNet from scratch with all of SKT: where skt-early starts."""
    return _taught(skt_untaught(), by="csrnet")


def skt_early() -> Recipe:
    """skt-taught goes on with head points alone, for as long as quarter."""
    return _long(skt_untaught(), starts_from="skt-taught")


def skt_untaught() -> Recipe:
    """1/4-CSRNet from scratch with head points alone, for as long as skt-taught."""
    return replace(quarter(), steps=STUDENT_STEPS, evaluate_every=STUDENT_STEPS)


def skt_untaught_early() -> Recipe:
    """skt-untaught goes on as skt-early does: its control, of the same two stages."""
    return _long(skt_untaught(), starts_from="skt-untaught")


def half() -> Recipe:
    """1/2-CSRNet from scratch and head points alone: where skt-ratio-2 starts."""
    return _start({"ratio": 2})


def skt_plain_ratio_2() -> Recipe:
    """1/2-CSRNet goes on with head points alone."""
    return _alone(half(), starts_from="half")


def skt_ratio_2() -> Recipe:
    """1/2-CSRNet with all of SKT."""
    return _taught(skt_plain_ratio_2(), by="csrnet")


def third() -> Recipe:
    """1/3-CSRNet from scratch and head points alone: where skt-ratio-3 starts."""
    return _start({"ratio": 3})


def skt_plain_ratio_3() -> Recipe:
    """1/3-CSRNet goes on with head points alone."""
    return _alone(third(), starts_from="third")


def skt_ratio_3() -> Recipe:
    """1/3-CSRNet with all of SKT."""
    return _taught(skt_plain_ratio_3(), by="csrnet")


def fifth() -> Recipe:
    """1/5-CSRNet from scratch and head points alone: where skt-ratio-5 starts."""
    return _start({"ratio": 5})


def skt_plain_ratio_5() -> Recipe:
    """1/5-CSRNet goes on with head points alone."""
    return _alone(fifth(), starts_from="fifth")


def skt_ratio_5() -> Recipe:
    """1/5-CSRNet with all of SKT."""
    return _taught(skt_plain_ratio_5(), by="csrnet")


def skt_published() -> Recipe:
    """1/4-CSRNet with SKT as published, as near as square crops come, on part A alone."""
    # The same: losses, weights, one crop a step, rate, decay, no warm-up, no clipping, few flips,
    # no scaling (but of small pictures), no colours. Other: a crop is a square of 384 px, not half
    # to all of each side of a picture; targets have one kernel and are made on the cells, not
    # shrunk to them; bf16; fewer steps; weights are averaged, and chosen once, at the end, on
    # pictures that no crop comes from; the teacher is ours.
    return replace(
        skt(),
        starts_from="",
        train=TRAIN[:1],
        validate=VALIDATE[:1],
        method_arguments={},  # the defaults of the method are the published ones
        augmentation=Augmentation(crop_px=384, scale=(1, 1), flip=0.2, grey=0, colour=0),
        optimiser="adam",
        decay="constant",
        rate=1e-4,
        weight_decay=5e-4,
        warmup=0,
        clip=1e9,
        steps=PUBLISHED_STEPS,
        evaluate_every=PUBLISHED_STEPS,
        batch=1,
    )


def bl() -> Recipe:
    """BL with its Bayesian loss, seven of its 16 first convolutions from the ImageNet weights of
    VGG-16 (published: all, of VGG-19): the teacher of 1/4-BL.
    """
    return replace(csrnet(), net="bl", method_arguments={"loss": "bayesian"})


def bl_untaught() -> Recipe:
    """1/4-BL from scratch and head points alone, for as long as bl-taught."""
    return replace(skt_untaught(), net="bl", method_arguments={"loss": "bayesian"})


def bl_untaught_early() -> Recipe:
    """bl-untaught goes on: the control of bl-early, of the same two stages."""
    return _long(bl_untaught(), starts_from="bl-untaught")


def bl_taught() -> Recipe:
    """1/4-BL from scratch with all of SKT: where bl-early starts."""
    return _taught(bl_untaught(), by="bl", layers=BL)


def bl_early() -> Recipe:
    """bl-taught goes on with head points alone."""
    return _long(bl_untaught(), starts_from="bl-taught")


def sanet() -> Recipe:
    """SANet from scratch and head points: the teacher of 1/4-SANet."""
    return replace(csrnet(), net="sanet", trunk_weights="", frozen=(), rate=1e-3)


def sanet_untaught() -> Recipe:
    """1/4-SANet from scratch and head points alone, for as long as sanet-taught."""
    return replace(skt_untaught(), net="sanet", rate=1e-3)


def sanet_untaught_early() -> Recipe:
    """sanet-untaught goes on: the control of sanet-early, of the same two stages."""
    return _long(sanet_untaught(), starts_from="sanet-untaught")


def sanet_taught() -> Recipe:
    """1/4-SANet from scratch with all of SKT: where sanet-early starts."""
    return _taught(sanet_untaught(), by="sanet", layers=SANET)


def sanet_early() -> Recipe:
    """sanet-taught goes on with head points alone."""
    return _long(sanet_untaught(), starts_from="sanet-taught")


def _start(net_arguments: dict[str, Any]) -> Recipe:
    return Recipe(
        net="csrnet",
        net_arguments=net_arguments,
        train=TRAIN,
        validate=VALIDATE,
        method_arguments={"loss": "chi"},
        steps=START_STEPS,
        batch=BATCH,
        rate=START_RATE,
    )


def _long(short: Recipe, *, starts_from: str) -> Recipe:
    """The run of that name, taught or not, goes on for as long as `quarter`, which it is like."""
    return replace(
        short,
        starts_from=starts_from,
        steps=START_STEPS,
        evaluate_every=quarter().evaluate_every,
    )


def _alone(start: Recipe, *, starts_from: str) -> Recipe:
    """The run of that name, which is of this recipe, goes on."""
    return replace(
        start,
        starts_from=starts_from,
        steps=STUDENT_STEPS,
        rate=STUDENT_RATE,
        warmup=100,
        evaluate_every=STUDENT_STEPS // 2,
    )


def _taught(
    alone: Recipe,
    *,
    by: str,
    layers: Sequence[str] = CSRNET,
    intra: float = 0.5,
    inter: float = 0.5,
) -> Recipe:
    """The same student and hard loss, with the published weights of SKT on means."""
    arguments: dict[str, Any] = {
        **alone.method_arguments,
        "intra": intra,
        "inter": inter,
        "reduction": "mean",
        "layers": layers,
        "rate": TRANSFORM_RATE,
    }
    teachers = {"teacher": Teacher(by)}
    return replace(alone, method="skt", method_arguments=arguments, teachers=teachers)
