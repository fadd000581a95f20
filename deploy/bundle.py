"""A bundle: the folder that a model ships as. Opening one proves that nothing in it was altered.

`manifest.json` names every file that is loaded with its SHA-256, and says what the model is, what
it was trained on and how wrong it is. The card, `README.md`, is written from it and has no hash:
nothing reads it. Without torch: the service opens bundles.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, field_validator

from models.errors import BundleError
from models.interval import IntervalTable

ZOO = Path(__file__).parent / "zoo"
MANIFEST = "manifest.json"
MODEL = "model.fp32.onnx"
MODEL_INT8 = "model.int8.onnx"
WEIGHTS = "weights.safetensors"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputRule(_Frozen):
    """uint8 RGB frames, N x H x W x 3; normalisation is inside the graph."""

    stride: PositiveInt
    multiple: PositiveInt
    layout: Literal["NHWC"] = "NHWC"
    colour: Literal["RGB"] = "RGB"
    dtype: Literal["uint8"] = "uint8"


class PartScores(_Frozen):
    """Validation errors of one data set, in people a picture."""

    pictures: int
    mae: float
    rmse: float
    nae: float | None
    """None where no picture has people."""
    bias: float
    mae_trimmed: float
    mean_true: float


class Training(_Frozen):
    data: tuple[str, ...]
    licence: str
    steps: int
    recipe: Mapping[str, Any]


class ParityRow(_Frozen):
    """How one engine and precision compares with the trained net on validation pictures."""

    engine: str
    precision: str
    pictures: int
    worst_count_gap: float
    """Largest relative difference of a count."""
    worst_cell_gap: float
    """Largest difference of a cell, in people."""
    mae_lost: float | None
    """MAE of the engine minus that of the net, relative to the net's; None without true counts."""
    mae_lost_by_part: Mapping[str, float] = {}
    """The same for each data set, by the first word of a picture's id."""


class Manifest(_Frozen):
    schema_version: Literal[1]
    name: str
    created: str
    commit: str
    net: str
    arguments: Mapping[str, Any]
    parameters: int
    input: InputRule
    precisions: Mapping[str, str]
    files: Mapping[str, str]
    validation: Mapping[str, PartScores]
    interval: IntervalTable
    training: Training
    parity: tuple[ParityRow, ...] = ()
    calibrated_on: int | None = None
    """From so many pictures the int8 model was made, where there is one."""

    @field_validator("precisions")
    @classmethod
    def _each_its_own(cls, precisions: Mapping[str, str]) -> Mapping[str, str]:
        if "fp32" not in precisions or len(set(precisions.values())) < len(precisions):
            raise ValueError(f"wanted fp32, and a file for each, not {dict(precisions)}")
        return precisions


@dataclass(frozen=True)
class Bundle:
    """An intact bundle."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def weights(self) -> Path:
        """The trained tensors: a checkpoint, for fine-tuning and for parity."""
        return self.folder / WEIGHTS

    def model(self, precision: str) -> Path:
        """The ONNX file of a precision. Raises BundleError where the bundle has none."""
        if precision not in self.manifest.precisions:
            have = ", ".join(self.manifest.precisions)
            raise BundleError(f"bundle {self.name} has no {precision} model; it has {have}")
        return self.folder / self.manifest.precisions[precision]


def open_bundle(name: str, *, zoo: Path = ZOO) -> Bundle:
    """Open a shipped bundle by name, or any by its folder. Every file's hash is checked.

    Raises BundleError, in one line, for an unknown name, a file missing, altered, outside or not to
    be read.
    """
    try:
        return _open(name, zoo)
    except OSError as error:
        raise BundleError(f"{error.filename} cannot be read: {error.strerror}") from error


def _open(name: str, zoo: Path) -> Bundle:
    folder = zoo / name if "/" not in name else Path(name)
    if not (folder / MANIFEST).is_file():
        known = ", ".join(shipped(zoo)) or "none"
        raise BundleError(
            f"no bundle {name!r}: shipped are {known}; or give a folder, with a slash"
        )
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ": ".join([str(folder / MANIFEST), ".".join(map(str, first["loc"]))]).rstrip(": ")
        newer = " (made by a newer throng?)" if first["loc"] == ("schema_version",) else ""
        raise BundleError(f"{where}: {first['msg']}{newer}") from error
    for file, digest in manifest.files.items():
        _check(folder, file, digest)
    for file in manifest.precisions.values():
        _check_model(folder, file, manifest)
    return Bundle(folder, manifest)


def shipped(zoo: Path = ZOO) -> list[str]:
    return sorted(path.parent.name for path in zoo.glob(f"[!.]*/{MANIFEST}"))


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(folder: Path, file: str, digest: str) -> None:
    path = folder / file
    if "\0" in file or path.resolve().parent != folder.resolve():
        raise BundleError(f"{folder / MANIFEST} names {file!r}, which is outside the bundle")
    if not path.is_file():
        raise BundleError(f"{path} is missing: the bundle is not whole")
    if digest_of(path) != digest:
        raise BundleError(f"{path} was altered: its SHA-256 is not the one in the manifest")


def _check_model(folder: Path, file: str, manifest: Manifest) -> None:
    """ONNX names a file of external weights under a key `location`; ours never hold that word."""
    if file not in manifest.files:
        raise BundleError(f"{folder / MANIFEST} gives no hash for {file}")
    if not file.endswith(".onnx"):
        raise BundleError(f"{folder / MANIFEST} names {file!r} as a model: wanted a file *.onnx")
    if b"location" in (folder / file).read_bytes():
        raise BundleError(
            f"{folder / file} keeps weights in other files, which have no hash: export again"
        )
