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

# Held frames of Beijing-BRT are of the two cameras of its training frames: 3 s from the nearest of
# those at least, 17 s in the median. They tell of a site that is known, not of a new one.
VALIDATE = (
    Part("pack", "val", prefix="sha_"),
    Part("pack", "val", prefix="shb_"),
    Part("pack", "train_brt", fold="held"),
    Part("pack", "train_empty", fold="held"),
    Part("plaza", "val"),
)
