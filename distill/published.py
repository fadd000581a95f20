"""Checkpoints of published code as nets of ours.

A layout lists what that code calls its convolutions, in the order of our net's. All are fed RGB
normalised by ImageNet's mean and deviation, as our nets are; MCNN makes its grey pictures itself.

- `mcnn`: svishwa/crowdcount-mcnn, HDF5 files (`mcnn_shtechA_660.h5`);
- `csrnet-pytorch`: leeyeehoo/CSRNet-pytorch, and the teachers of SKT;
- `skt`: the 1/n-CSRNet of chen-judge/SKT; n is read from its first layer;
- `bl`: ZhihengCV/Bayesian-Crowd-Counting.
"""

import pickle
from collections.abc import Iterator, KeysView
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import Checkpoint
from models.errors import ConfigError, DataError
from models.nets import NETS

TRAIN_ONLY = "transform"  # SKT's 1 x 1 convolutions from student to teacher
UNFIT = (OSError, RuntimeError, ValueError, TypeError, KeyError, EOFError, pickle.UnpicklingError)


@dataclass(frozen=True)
class Layout:
    net: str
    layers: tuple[str, ...]
    """Published names in our order; each has a weight and a bias."""
    divided: bool = True
    """The net has a ratio, and its first layer 64 channels over that."""

    @property
    def keys(self) -> list[str]:
        return [f"{layer}.{part}" for layer in self.layers for part in ("weight", "bias")]

    def arguments(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """What builds the net, by the bias of the first layer."""
        channels = tensors[self.keys[1]].numel()
        return {"ratio": max(1, round(64 / max(1, channels)))} if self.divided else {}


LAYOUTS = {
    "mcnn": Layout(
        "mcnn",
        (
            *(f"DME.branch{branch}.{i}.conv" for branch in (1, 2, 3) for i in (0, 2, 4, 5)),
            "DME.fuse.0.conv",
        ),
        divided=False,
    ),
    "csrnet-pytorch": Layout(
        "csrnet",
        (
            *(f"frontend.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)),
            *(f"backend.{i}" for i in (0, 2, 4, 6, 8, 10)),
            "output_layer",
        ),
    ),
    "skt": Layout(
        "csrnet",
        (
            *(f"conv{i}_{j}.0" for i, n in enumerate((2, 2, 3, 3, 6)) for j in range(n)),
            "conv5_0",
        ),
    ),
    "bl": Layout(
        "bl",
        (
            *(f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25)),
            *(f"features.{i}" for i in (28, 30, 32, 34)),
            *(f"reg_layer.{i}" for i in (0, 2, 4)),
        ),
    ),
}


def published(path: Path, layout: str) -> Checkpoint:
    """A published checkpoint as one of ours. Nothing in the file is executed.

    Raises ConfigError for a layout that is not known, DataError for a file that is not of it: odd
    keys or shapes.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    known, tensors = LAYOUTS[layout], dict(_read(path))
    _refuse_others(path, layout, tensors.keys())
    arguments = known.arguments(tensors)
    net = NETS[known.net](**arguments)
    ours = net.state_dict()
    pairs = dict(zip(known.keys, ours, strict=True))
    for key, name in pairs.items():
        came, wanted = tuple(tensors[key].shape), tuple(ours[name].shape)
        if came != wanted:
            raise DataError(f"{path.name} does not fit {layout}: {key} is {came}, wanted {wanted}")
    net.load_state_dict({name: tensors[key].float() for key, name in pairs.items()})
    return Checkpoint(net.eval(), known.net, arguments, {"published": path.name})


def _refuse_others(path: Path, layout: str, keys: KeysView[str]) -> None:
    wanted = {*LAYOUTS[layout].keys}
    lists = {"misses": sorted(wanted - keys), "has unknown": sorted(keys - wanted)}
    said = [f"{verb} {', '.join(odd[:3])}" for verb, odd in lists.items() if odd]
    if said:
        raise DataError(f"{path.name} is no {layout} checkpoint: it {' and '.join(said)}")


def _read(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Tensors by name, without those that only training had."""
    if not path.is_file():
        raise DataError(f"no published checkpoint at {path}")
    try:
        stored = _from_h5(path) if path.suffix == ".h5" else _from_torch(path)
    except UNFIT as error:
        why = shorten(str(error), 200)
        raise DataError(f"{path} holds no tensors that can be read: {why}") from error
    for key, value in stored.items():
        name = str(key).removeprefix("module.")  # torch's DataParallel adds it
        if not name.startswith(TRAIN_ONLY):
            if not isinstance(value, Tensor):
                raise DataError(f"{path.name} is no checkpoint: {name} is no tensor")
            yield name, value


def _from_torch(path: Path) -> dict[Any, Any]:
    stored = torch.load(path, map_location="cpu", weights_only=True)
    found = stored.get("state_dict", stored) if isinstance(stored, dict) else stored
    if not isinstance(found, dict):
        raise TypeError(f"a {type(found).__name__}, wanted a dictionary")
    return found


def _from_h5(path: Path) -> dict[Any, Any]:
    import h5py  # one layout needs it

    with h5py.File(path) as stored:
        return {name: torch.from_numpy(array[()]) for name, array in stored.items()}
