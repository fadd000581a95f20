"""A run's state on disk: tensors in safetensors, the rest in JSON, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.errors import DataError


def save(
    path: Path, *, step: int, nets: dict[str, nn.Module], optimiser: torch.optim.Optimizer
) -> None:
    """Everything that the next step depends on. Replaces `path` atomically.

    Raises DataError where it cannot be written; what was there before is there still.
    """
    tensors: dict[str, Tensor] = {}
    for name, net in nets.items():
        tensors |= {f"{name}/{key}": value for key, value in net.state_dict().items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{key}": value for key, value in moments.items()}
    tensors = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    write = path.with_suffix(".partial")
    try:
        save_file(tensors, write, metadata={"step": str(step)})
        write.replace(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be written: {error}; make room and go on") from error
    finally:
        write.unlink(missing_ok=True)


def restore(path: Path, *, nets: dict[str, nn.Module], optimiser: torch.optim.Optimizer) -> int:
    """Put a saved state back; returns the number of steps done.

    Raises DataError where the file is broken, or is the state of other nets.
    """
    step, groups = _read(path)
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in groups.pop("optimiser", {}).items():
        index, _, name = key.partition("/")
        moments.setdefault(int(index), {})[name] = value
    wanted = {name: net for name, net in nets.items() if net.state_dict()}
    if groups.keys() != wanted.keys():
        raise DataError(f"{path} holds {sorted(groups)}, this run needs {sorted(wanted)}")
    for name, net in wanted.items():
        net.load_state_dict(groups[name])
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": moments, "param_groups": whole["param_groups"]})
    return step


def _read(path: Path) -> tuple[int, dict[str, dict[str, Tensor]]]:
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as stored:
            step = int((stored.metadata() or {})["step"])
            for key in stored.keys():  # noqa: SIM118  # not a dict: it only has keys()
                group, _, rest = key.partition("/")
                groups.setdefault(group, {})[rest] = stored.get_tensor(key)
    except (SafetensorError, KeyError) as error:
        raise DataError(f"{path} is no state of a run ({error}): remove it") from error
    return step, groups


def append_line(path: Path, **fields: Any) -> None:
    """One JSON object on a line of its own."""
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(fields) + "\n")
