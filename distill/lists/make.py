"""How the lists of the data pack were made: `write(DATA, HERE)`, once."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from distill.data import DATASETS

PERCENTS = (5, 10, 40)
SEED = 0


def write(data: Path, folder: Path) -> None:
    """`sha-shb-5`, `-10` and `-40`: so many percent of either part in the pack's train split.

    Raises DataError where `data` is no data pack.
    """
    samples = DATASETS["pack"](data, "train")
    parts = [
        {s.id: s.count for s in samples if s.id.startswith(prefix)} for prefix in ("sha_", "shb_")
    ]
    for percent, lists in nested(parts, PERCENTS, seed=SEED).items():
        ids = sorted(name for part in lists for name in part)
        head = (
            f"# {percent} % of ShanghaiTech A and of B in the data pack's train split, spread\n"
            "# over the range of counts; a smaller list lies in every larger one.\n"
            f"# Made by distill.lists.make.write with seed {SEED}.\n"
        )
        text = head + "".join(f"{name}\n" for name in ids)
        (folder / f"sha-shb-{percent}.txt").write_text(text, encoding="utf-8")


def nested(
    parts: Sequence[Mapping[str, int]], percents: Sequence[int], *, seed: int
) -> dict[int, list[list[str]]]:
    """Ids of each part for each percentage, from counts by id.

    The largest list takes one id from each of so many equal slices of all ids in order of count,
    and each smaller list takes its own from the next larger one in the same way.
    """
    rng = np.random.default_rng(seed)
    left = [sorted(counts, key=lambda name: (counts[name], name)) for counts in parts]
    chosen = {}
    for percent in sorted(percents, reverse=True):
        sizes = [max(1, round(len(counts) * percent / 100)) for counts in parts]
        left = [
            [str(rng.choice(ids[start:stop])) for start, stop in pairwise(_edges(len(ids), size))]
            for ids, size in zip(left, sizes, strict=True)
        ]
        chosen[percent] = left
    return chosen


def _edges(number: int, slices: int) -> list[int]:
    """Ends of slices whose lengths differ by one at most, long and short ones in turn."""
    return [number * k // slices for k in range(slices + 1)]
