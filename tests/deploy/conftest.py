"""A tiny bundle with random weights: the line from checkpoint to engine without any training."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from deploy.bundle import Bundle, open_bundle, shipped
from deploy.export import export
from deploy.parity import pictures_of
from deploy.quantise import quantise
from models.checkpoint import save_checkpoint
from models.nets import NETS

MakeCheckpoint = Callable[..., Path]

PART = {"dataset": "pack", "split": "train", "prefix": "sha_", "fold": "all", "weight": 0.5}
FACTS = {"step": 7, "recipe": {"net": "throng-s", "method": "supervised", "train": [PART]}}
SMALL = {"width": 8}


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Saves a small throng-s; nets of different seeds count differently."""

    def make(seed: int = 0, facts: dict[str, Any] = FACTS) -> Path:
        torch.manual_seed(seed)
        path = tmp_path_factory.mktemp("checkpoint") / "best.safetensors"
        save_checkpoint(
            path, NETS["throng-s"](**SMALL), name="throng-s", arguments=SMALL, facts=facts
        )
        return path

    return make


@pytest.fixture(scope="session")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures of part A, each counted ten too many, and ten without people."""
    path = tmp_path_factory.mktemp("counts") / "counts.csv"
    rows = [(f"sha_{i}", i + 10.0, i) for i in range(30)] + [
        (f"dtd_{i}", 1.0, 0) for i in range(10)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "predicted", "true"), *rows])
    return path


@pytest.fixture(scope="session")
def tiny(
    make_checkpoint: MakeCheckpoint, counts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """Read only: tests that alter a bundle copy its folder."""
    out = tmp_path_factory.mktemp("zoo") / "tiny"
    return export(make_checkpoint(), counts=[counts], out=out, name="tiny")


@pytest.fixture(scope="session")
def tiny_int8(tiny: Bundle, split: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same with int8, calibrated on the split. Read only too."""
    folder = tmp_path_factory.mktemp("zoo8") / "tiny"
    shutil.copytree(tiny.folder, folder)
    quantise(open_bundle(str(folder)), (picture.read() for picture in pictures_of(split)))
    return open_bundle(str(folder))


@pytest.fixture
def shipped_models() -> list[Path]:
    """Every ONNX file of every bundle that ships."""
    bundles = [open_bundle(name) for name in shipped()]
    return [
        bundle.model(precision) for bundle in bundles for precision in bundle.manifest.precisions
    ]


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of odd sizes, laid out as a split of the data pack."""
    folder = tmp_path_factory.mktemp("split")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    lines = ["id,width,height,count"]
    for number, (height, width) in enumerate(((40, 56), (33, 47), (64, 64), (41, 90))):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"images/sha_{number}.jpg"), noise)
        lines.append(f"sha_{number},{width},{height},{number}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
