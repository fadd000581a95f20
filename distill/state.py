"""A run's state on disk: all that its next step depends on."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.errors import DataError
from models.tensors import write_tensors


def save(
    path: Path, *, step: int, nets: dict[str, nn.Module], optimiser: torch.optim.Optimizer
) -> None:
    """Raises DataError where it cannot be written; what was there before is there still."""
    tensors: dict[str, Tensor] = {}
    for name, net in nets.items():
        tensors |= {f"{name}/{key}": value for key, value in net.state_dict().items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{key}": value for key, value in moments.items()}
    tensors = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    write_tensors(path, tensors, {"step": str(step)})


def restore(path: Path, *, nets: dict[str, nn.Module], optimiser: torch.optim.Optimizer) -> int:
    """Put a saved state back; returns the number of steps done.

    Raises DataError where the file is broken, or is the state of other nets.
    """
    step, groups = read(path)
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in groups.pop("optimiser", {}).items():
        index, _, name = key.partition("/")
        moments.setdefault(int(index), {})[name] = value
    wanted = {name: net for name, net in nets.items() if net.state_dict()}
    if groups.keys() != wanted.keys():
        raise DataError(f"{path} holds {sorted(groups)}, this run needs {sorted(wanted)}")
    for name, net in wanted.items():
        try:
            net.load_state_dict(groups[name])
        except RuntimeError as error:
            raise DataError(f"{path} holds another {name} than this run has") from error
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": moments, "param_groups": whole["param_groups"]})
    return step


def read(path: Path) -> tuple[int, dict[str, dict[str, Tensor]]]:
    """Steps done, and tensors by the net's name, then their own.

    Raises DataError where the file is missing or broken.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as stored:
            step = int((stored.metadata() or {})["step"])
            for key in stored.keys():  # noqa: SIM118  # not a dict: it only has keys()
                group, _, rest = key.partition("/")
                groups.setdefault(group, {})[rest] = stored.get_tensor(key)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} is no state of a run ({error}): remove the folder, it begins anew"
        ) from error
    return step, groups
