"""throng-m: the default student, from ImageNet weights and the data pack."""

from dataclasses import replace

from distill.recipes import Part, Recipe

VALIDATE = (
    Part("pack", "val", prefix="sha_"),
    Part("pack", "val", prefix="shb_"),
    Part("pack", "train_brt", fold="held"),
    Part("pack", "train_empty", fold="held"),
    Part("plaza", "val"),
)


def throng_m() -> Recipe:
    """Supervised on streets, crowds, empty textures and the drawn plaza."""
    return Recipe(
        net="throng-m",
        train=(
            Part("pack", "train", prefix="sha_", weight=0.45),
            Part("pack", "train", prefix="shb_", weight=0.30),
            Part("pack", "train_brt", fold="train", weight=0.08),
            Part("pack", "train_empty", fold="train", weight=0.07),
            Part("plaza", "train", weight=0.10),
        ),
        validate=VALIDATE,
        trunk_weights="weights/resnet18_bnfolded_to_layer3.npz",
        frozen=("trunk.conv1", "trunk.layer1"),
        steps=12_000,
        batch=16,
        average=0.999,
    )


def throng_m_smoke() -> Recipe:
    """A few steps from scratch on drawn pictures: shows that the line runs, needs no data."""
    return replace(
        throng_m(),
        train=(Part("plaza", "smoke"),),
        validate=(Part("plaza", "smoke"),),
        trunk_weights="",
        frozen=(),
        steps=6,
        warmup=2,
        batch=2,
        evaluate_every=3,
    )
