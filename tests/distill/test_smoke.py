"""A smoke recipe for every method: six steps with fresh teachers on drawn pictures."""

from pathlib import Path

import pytest
import torch

from distill.bank import make_bank
from distill.methods import METHODS
from distill.recipes import recipe
from distill.run import train
from models.checkpoint import load_checkpoint

NAMES = {
    "fitnet": "skt-fitnet",
    "mean-teacher": "mean-teacher-5",
    "mgd": "mgd-5",
    "review": "reviewkd-review",
    "reviewkd": "reviewkd",
    "skt": "skt",
    "soft": "throng-s-banked",
    "supervised": "teacher-wide-zip",
}
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
        ],
    ),
]


def test_every_method_has_a_recipe() -> None:
    assert {method: recipe(name).method for method, name in NAMES.items()} == {
        method: method for method in METHODS.names()
    }


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES.values())
@pytest.mark.usefixtures("small_plaza", "undrawn", "one_thread")
def test_its_smoke_needs_no_data_and_leaves_a_checkpoint_for_anywhere(
    name: str, device: str, tmp_path: Path
) -> None:
    smoke = recipe(f"{name}-smoke")
    best = train(smoke, data=tmp_path / "no", out=tmp_path / name, device=torch.device(device))
    weights = load_checkpoint(best).net.state_dict().values()
    assert all(value.device.type == "cpu" and value.isfinite().all() for value in weights)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("small_plaza", "one_thread")
def test_a_bank_is_filled_anywhere(device: str, tmp_path: Path) -> None:
    make_bank(
        recipe("throng-s-banked-smoke"), data=tmp_path / "no", runs=tmp_path,
        out=tmp_path / "bank", crops=4, device=torch.device(device),
    )  # fmt: skip
    assert list((tmp_path / "bank").glob("shard-*"))
