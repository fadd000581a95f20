"""throng-m: the default student, from ImageNet weights and the data pack."""

from distill.recipes import Recipe
from distill.recipes._pack import TRAIN, VALIDATE


def throng_m() -> Recipe:
    """Supervised on streets, crowds, empty textures and the drawn plaza."""
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
