"""Tensors on disk, whole or not at all. No pickled classes."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from models.whole import whole


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None
) -> None:
    """Raises DataError where it cannot be written; what was there before is there still."""
    with whole(path) as partial:
        try:
            save_file(dict(tensors), partial, dict(header or {}))
        except SafetensorError as error:  # a full disk is one
            raise OSError(str(error)) from error
