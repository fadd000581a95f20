"""Starting a net from published ImageNet weights (npz files of the data pack's `weights/`)."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.errors import DataError


def first_layer_checksum(module: nn.Module) -> str:
    """SHA-256 of the first parameter as fp16 bytes: says which weights a net started from."""
    first = next(iter(module.parameters())).detach()
    return hashlib.sha256(first.to(torch.float16).contiguous().numpy().tobytes()).hexdigest()


def start_from(module: nn.Module, path: Path) -> str:
    """Load every parameter of `module` from the npz of that layer names; returns the checksum.

    Raises DataError where a layer is missing, has another shape, or the first layer does not hold
    the file's numbers after loading.
    """
    if not path.is_file():
        raise DataError(f"no initial weights at {path}: give --data the folder of the data pack")
    try:
        with path.open("rb") as file, np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no npz file of weights: {error}") from error
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    got = {name: array.shape for name, array in arrays.items()}
    if wanted != got:
        names = wanted.keys() | got.keys()
        odd = sorted(name for name in names if wanted.get(name) != got.get(name))
        raise DataError(f"{path.name} does not fit {type(module).__name__}: {', '.join(odd[:5])}")
    first = next(iter(wanted))
    tensors = {name: torch.from_numpy(a.astype(np.float32)) for name, a in arrays.items()}
    module.load_state_dict(tensors)
    expected = hashlib.sha256(arrays[first].astype(np.float16).tobytes()).hexdigest()
    if first_layer_checksum(module) != expected:
        raise DataError(f"{path.name} was loaded, but {first} does not hold its numbers")
    return expected
