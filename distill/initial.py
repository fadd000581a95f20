"""Starting a net from published ImageNet weights (npz files of the data pack's `weights/`)."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.errors import DataError

Arrays = Mapping[str, NDArray[Any]]


@runtime_checkable
class Converting(Protocol):
    """A module that says how a file's arrays become its parameters: other names, folded norms."""

    def from_arrays(self, arrays: Arrays) -> dict[str, Tensor]:
        """All its parameters, those that the file does not hold as they are.

        Raises KeyError for an array that is missing, ValueError for one of another shape.
        """
        ...


def first_layer_checksum(module: nn.Module) -> str:
    """SHA-256 of the first parameter as fp16 bytes: says which weights a net started from."""
    return _checksum(next(iter(module.parameters())))


def start_from(module: nn.Module, path: Path) -> str:
    """Load every parameter of `module` from an npz; returns the checksum of the first.

    The arrays are the module's parameters by name, unless it is `Converting`. Raises DataError
    where a layer is missing, has another shape, or the first layer does not hold the file's numbers
    after loading.
    """
    arrays = _read(path)
    try:
        tensors = (
            module.from_arrays(arrays)
            if isinstance(module, Converting)
            else {name: torch.from_numpy(a.astype(np.float32)) for name, a in arrays.items()}
        )
    except KeyError as error:
        raise DataError(f"{path.name} does not fit {_name(module)}: no {error.args[0]}") from error
    except ValueError as error:
        raise DataError(f"{path.name} does not fit {_name(module)}: {error}") from error
    wanted = {name: value.shape for name, value in module.state_dict().items()}
    got = {name: value.shape for name, value in tensors.items()}
    if wanted != got:
        names = wanted.keys() | got.keys()
        odd = sorted(name for name in names if wanted.get(name) != got.get(name))
        raise DataError(f"{path.name} does not fit {_name(module)}: {', '.join(odd[:5])}")
    first = next(iter(wanted))
    expected = _checksum(tensors[first])
    module.load_state_dict(tensors)
    if first_layer_checksum(module) != expected:
        raise DataError(f"{path.name} was loaded, but {first} does not hold its numbers")
    return expected


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise DataError(f"no initial weights at {path}: give --data the folder of the data pack")
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no npz file of weights: {error}") from error


def _checksum(tensor: Tensor) -> str:
    half = tensor.detach().to(torch.float16).contiguous()
    return hashlib.sha256(half.numpy().tobytes()).hexdigest()


def _name(module: nn.Module) -> str:
    return type(module).__name__
