"""A run small enough for a second: two small drawn pictures, a narrow throng-s, crops of 64."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from distill.augment import Augmentation
from distill.recipes import Part, Recipe


@pytest.fixture
def small_plaza(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smoke split of the plaza is two pictures of 96 x 128."""
    monkeypatch.setattr("distill.data.plaza.SIZES", ((96, 128),))
    monkeypatch.setattr("distill.data.plaza.SPLITS", {"smoke": range(20, 21)})


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs leave out their figures: a second each."""
    monkeypatch.setattr("distill.run.draw_predictions", lambda *_: None)
    monkeypatch.setattr("distill.run.draw_curve", lambda *_: None)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small nets are no faster on more, and far slower where another process has the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny(small_plaza: None, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Six steps, evaluated after the last; in fp32 on one thread, so bit-equal from run to run."""
    monkeypatch.setattr("distill.run.bf16_pays", lambda _: False)
    plaza = (Part("plaza", "smoke"),)
    return Recipe(
        net="throng-s",
        net_arguments={"width": 8},
        train=plaza,
        validate=plaza,
        steps=6,
        warmup=2,
        batch=2,
        evaluate_every=6,
        augmentation=Augmentation(crop_px=64),
    )


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A data pack whose split has twenty black pictures without people, of two kinds."""
    names = [f"{kind}_{number:02}" for kind in ("sha", "shb") for number in range(10)]
    folder = tmp_path / "val"
    (folder / "images").mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(folder / f"images/{name}.jpg"), np.zeros((70, 80, 3), np.uint8))
    np.savez(folder / "points.npz")
    rows = "".join(f"{name},80,70,0\n" for name in names)
    (folder / "index.csv").write_text(f"id,width,height,count\n{rows}")
    return tmp_path
