"""throng-m: the default student, from ImageNet weights and the data pack."""

from dataclasses import replace

from distill.augment import AS_SEEN, HARSH, MIXED
from distill.recipes import Recipe
from distill.recipes._pack import TRAIN, VALIDATE


def throng_m_whole() -> Recipe:
    """ResNet18 with both blocks at stride 4, on streets, crowds, empty textures and the plaza."""
    return Recipe(
        net="throng-m",
        train=TRAIN,
        validate=VALIDATE,
        trunk_weights="weights/resnet18_bnfolded_to_layer3.npz",
        frozen=("trunk.conv1", "trunk.layer1"),
        steps=12_000,
        batch=16,
        average=0.999,
    )


def throng_m_cut() -> Recipe:
    """throng-m-whole loses its second block at stride 4 and goes on for as long."""
    return replace(
        throng_m_whole(),
        net_arguments={"blocks": (1, 2, 2)},
        starts_from="throng-m-whole",
        frozen=("trunk.conv1",),
        rate=5e-4,
    )


def throng_m() -> Recipe:
    """throng-m-cut goes on for as long, with pictures that nothing has softened."""
    return replace(throng_m_resized(), augmentation=AS_SEEN)


def throng_m_resized() -> Recipe:
    """throng-m-cut goes on with resized pictures: the control of throng-m."""
    return replace(throng_m_cut(), starts_from="throng-m-cut")


def throng_m_mixed() -> Recipe:
    """throng-m goes on with crops that no picture holds."""
    return replace(
        throng_m(), starts_from="throng-m", steps=6_000, augmentation=MIXED, evaluate_every=2_000
    )


def throng_m_finished() -> Recipe:
    """throng-m-mixed goes on slowly, on crops as they are."""
    return _finish("throng-m-mixed")


def throng_m_plain() -> Recipe:
    """throng-m goes on with crops as they are, for as long as throng-m-mixed."""
    return replace(throng_m_mixed(), augmentation=AS_SEEN)


def throng_m_plain_finished() -> Recipe:
    """throng-m-plain goes on so, too: the control of throng-m-finished."""
    return _finish("throng-m-plain")


def throng_m_harsh() -> Recipe:
    """The mean of throng-m and throng-m-finished goes on with crops of bad light and cameras."""
    return replace(
        _finish("throng-m"),
        averaged_with=("throng-m-finished",),
        steps=5_000,
        rate=2.5e-4,
        trunk_rate=1e-4,
        augmentation=HARSH,
    )


def throng_m_steady() -> Recipe:
    """The mean of throng-m and throng-m-harsh goes on slowly, with such crops."""
    return replace(
        _finish("throng-m"),
        averaged_with=("throng-m-harsh",),
        steps=2_500,
        evaluate_every=2_500,
        augmentation=HARSH,
    )


def _finish(start: str) -> Recipe:
    return replace(
        throng_m(), starts_from=start, steps=2_000, rate=1.25e-4, trunk_rate=5e-5, warmup=100
    )
