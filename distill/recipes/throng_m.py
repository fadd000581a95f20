"""throng-m: the default student, from ImageNet weights and the data pack."""

from dataclasses import replace

from distill.augment import AS_SEEN
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
