"""Starting a net from published ImageNet weights (npz files of the data pack's `weights/`)."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

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
        """Those of its parameters that the file is to start, by name.

        Raises KeyError for an array that is missing, ValueError for one of another shape.
        """
        ...


class Started(NamedTuple):
    """What now holds published numbers; the checksum of its first says which."""

    parameters: frozenset[nn.Parameter]
    checksum: str


def checksum(tensor: Tensor) -> str:
    """SHA-256 of its values as fp16 bytes."""
    half = tensor.detach().to(torch.float16).contiguous()
    return hashlib.sha256(half.numpy().tobytes()).hexdigest()


def start_from(module: nn.Module, path: Path) -> Started:
    """Load the parameters of `module` from an npz.

    The arrays are all of them by name, unless the module is `Converting`. Raises DataError where
    one is missing, has another shape, or the first does not hold the file's numbers after loading.
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
    known = module.state_dict()
    names = tensors.keys() if isinstance(module, Converting) else tensors.keys() | known.keys()
    shapes = {
        name: [held[name].shape for held in (known, tensors) if name in held] for name in names
    }
    odd = sorted(name for name, both in shapes.items() if len(both) < 2 or both[0] != both[1])
    if odd:
        raise DataError(f"{path.name} does not fit {_name(module)}: {', '.join(odd[:5])}")
    first = next(iter(tensors))
    expected = checksum(tensors[first])
    module.load_state_dict({**known, **tensors})
    if checksum(module.get_parameter(first)) != expected:
        raise DataError(f"{path.name} was loaded, but {first} does not hold its numbers")
    return Started(frozenset(map(module.get_parameter, tensors)), expected)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise DataError(f"no initial weights at {path}: give --data the folder of the data pack")
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no npz file of weights: {error}") from error


def _name(module: nn.Module) -> str:
    return type(module).__name__
