"""A trained net on disk: tensors and a JSON header in one safetensors file. No pickled classes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.errors import ConfigError, DataError
from models.nets import NETS, CountingNet
from models.tensors import write_tensors

UNFIT = (
    SafetensorError, ConfigError, KeyError, ValueError, RuntimeError, TypeError, ZeroDivisionError,
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A net in evaluation mode, what builds it, and what is known about it."""

    net: CountingNet
    name: str
    arguments: Mapping[str, Any]
    facts: Mapping[str, Any]


def save_checkpoint(
    path: Path,
    net: CountingNet,
    *,
    name: str,
    arguments: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Replaces `path` atomically. `facts` is JSON: recipe, step, validation errors.

    Raises DataError where it cannot be written; what was there before is there still.
    """
    header = {"net": name, "arguments": json.dumps(arguments), "facts": json.dumps(facts)}
    tensors = {key: value.detach().contiguous() for key, value in net.state_dict().items()}
    write_tensors(path, tensors, header)


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises DataError where the file is missing or does not hold the net that it names."""
    if not path.is_file():
        raise DataError(f"no checkpoint at {path}")
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as stored:
            header = stored.metadata() or {}
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        arguments, facts = json.loads(header["arguments"]), json.loads(header["facts"])
        net = NETS[header["net"]](**arguments)
        net.load_state_dict(tensors)
    except UNFIT as error:
        why = shorten(str(error), 200)
        raise DataError(f"{path} is not a checkpoint of this project: {why}") from error
    return Checkpoint(net.eval(), header["net"], arguments, facts)
