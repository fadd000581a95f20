"""The data pack as product students see it, and what they are chosen on."""

from distill.recipes import Part

TRAIN = (
    Part("pack", "train", prefix="sha_", weight=0.45),
    Part("pack", "train", prefix="shb_", weight=0.30),
    Part("pack", "train_brt", fold="train", weight=0.08),
    Part("pack", "train_empty", fold="train", weight=0.07),
    Part("plaza", "train", weight=0.10),
)
EVERY = (*TRAIN, Part("pack", "train_rendered", weight=0.10, labelled=False))
"""With rendered crowds, whose points are approximate: teachers say more of them."""

VALIDATE = (
    Part("pack", "val", prefix="sha_"),
    Part("pack", "val", prefix="shb_"),
    Part("pack", "train_brt", fold="held"),
    Part("pack", "train_empty", fold="held"),
    Part("plaza", "val"),
)
