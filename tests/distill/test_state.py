from pathlib import Path

import pytest
import torch
from torch import nn

from distill.state import restore, save
from models.errors import DataError


def _learner(seed: int) -> tuple[dict[str, nn.Module], torch.optim.Optimizer]:
    """Two nets and an Adam that has taken three steps of its own on the first."""
    torch.manual_seed(seed)
    nets: dict[str, nn.Module] = {"student": nn.Conv2d(3, 4, 3), "average": nn.Conv2d(3, 4, 3)}
    optimiser = torch.optim.AdamW(nets["student"].parameters(), lr=0.1)
    for _ in range(3):
        _step(nets["student"], optimiser)
    return nets, optimiser


def _step(net: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    net(torch.ones(1, 3, 8, 8)).square().sum().backward()
    optimiser.step()


def test_a_full_disk_leaves_the_state_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    path = tmp_path / "state.safetensors"
    path.write_bytes(b"before")
    monkeypatch.setattr("models.tensors.save_file", full)
    nets, optimiser = _learner(seed=0)
    with pytest.raises(DataError, match=r"state.safetensors cannot be written.*No space left"):
        save(path, step=1, nets=nets, optimiser=optimiser)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [(path.name, b"before")]


def test_a_learner_goes_on_from_its_state_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    nets, optimiser = _learner(seed=0)
    save(tmp_path / "state.safetensors", step=3, nets=nets, optimiser=optimiser)
    others, other = _learner(seed=1)
    assert restore(tmp_path / "state.safetensors", nets=others, optimiser=other) == 3
    _step(nets["student"], optimiser)
    _step(others["student"], other)
    for name, net in nets.items():
        for key, value in net.state_dict().items():
            assert torch.equal(value, others[name].state_dict()[key])


def test_nothing_half_written_is_left_beside_a_state(tmp_path: Path) -> None:
    nets, optimiser = _learner(seed=0)
    for step in (1, 2):
        save(tmp_path / "state.safetensors", step=step, nets=nets, optimiser=optimiser)
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    assert restore(tmp_path / "state.safetensors", nets=nets, optimiser=optimiser) == 2


def test_the_state_of_other_nets_is_refused(tmp_path: Path) -> None:
    nets, optimiser = _learner(seed=0)
    save(tmp_path / "state.safetensors", step=1, nets=nets, optimiser=optimiser)
    with pytest.raises(DataError, match=r"holds \['average', 'student'\].* needs \['student'\]"):
        restore(
            tmp_path / "state.safetensors",
            nets={"student": nets["student"]},
            optimiser=optimiser,
        )


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 64])
def test_a_broken_state_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    nets, optimiser = _learner(seed=0)
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"state\.safetensors is no state of a run"):
        restore(path, nets=nets, optimiser=optimiser)
