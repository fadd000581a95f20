"""From a trained checkpoint to a bundle. A failed export leaves the old bundle as it was."""

import csv
import logging
import math
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from deploy.bundle import (
    MANIFEST,
    MODEL,
    MODEL_INT8,
    WEIGHTS,
    Bundle,
    InputRule,
    Manifest,
    PartScores,
    Training,
    digest_of,
    open_bundle,
)
from deploy.card import CARD, LICENCE, describe, part_in_words
from deploy.lint import refuse_broken
from models.checkpoint import Checkpoint, load_checkpoint
from models.errors import BundleError, DataError
from models.interval import IntervalTable
from models.machine import commit_here
from models.metrics import Scores
from models.nets import CountingNet, Pixels, parameters_of
from models.whole import folder_at

OPSET = 20
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
FILES = (MODEL, MODEL_INT8, WEIGHTS)
LARGEST = 512  # longest side of a frame, in multiples of the input rule
LEAST_PICTURES = 20  # fewer say nothing about a 90 % interval


@dataclass(frozen=True)
class Validation:
    """How wrong a checkpoint is, from its counts of validation pictures."""

    parts: Mapping[str, PartScores]
    interval: IntervalTable

    @classmethod
    def read(cls, files: Sequence[Path]) -> "Validation":
        """From CSV files `id,predicted,true`, as `throng-distill evaluate --counts` writes them.

        Raises DataError, naming file and row, for anything else, an id twice, or too few pictures.
        """
        rows: dict[str, tuple[float, float]] = {}
        for file in files:
            for name, pair in _rows(file):
                if name in rows:
                    raise DataError(f"{file}: {name!r} was counted twice: give each picture once")
                rows[name] = pair
        if len(rows) < LEAST_PICTURES:
            raise DataError(f"{len(rows)} validation pictures: wanted {LEAST_PICTURES} or more")
        parts: dict[str, list[tuple[float, float]]] = {}
        for name, pair in rows.items():
            parts.setdefault(name.split("_")[0], []).append(pair)
        predicted, true = zip(*rows.values(), strict=True)
        table = IntervalTable.fit(predicted=predicted, true=true)
        return cls({part: _scores(pairs) for part, pairs in parts.items()}, table)


def export(checkpoint: Path, *, counts: Sequence[Path], out: Path, name: str) -> Bundle:
    """Make the bundle `name` in the folder `out`, in place of the one that may be there.

    Raises DataError for a checkpoint, a counts file, a `name` or an `out` that cannot be used.
    """
    if not re.fullmatch(NAME, name):
        raise DataError(
            f"--name {name!r}: wanted a plain word such as throng-m; --out is the folder"
        )
    validation = Validation.read(counts)
    out = out.resolve()
    _refuse_other_folders(out)
    folder_at(out.parent)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        _fill(staging, checkpoint, validation=validation, name=name)
        _swap(staging, out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return open_bundle(str(out))


def to_onnx(net: CountingNet) -> onnx.ModelProto:
    """The deployed form of a net: uint8 frames of any number and size in, people per cell out."""
    model = graph_of(Pixels(net).eval().requires_grad_(False), multiple=net.spec.multiple)
    refuse_broken(model, MODEL)
    return model


def graph_of(pixels: nn.Module, *, multiple: int) -> onnx.ModelProto:
    """What a module does to uint8 frames whose sides are multiples of so many pixels, as ONNX."""
    frames_NHW3, sizes = free_sizes(multiple)
    with _quiet():
        program = torch.onnx.export(
            pixels, (frames_NHW3,), dynamo=True, verbose=False, opset_version=OPSET,
            input_names=["frames"], output_names=["density"], dynamic_shapes=(sizes,),
        )  # fmt: skip
    if program is None:
        raise BundleError("torch gave no ONNX program")
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def free_sizes(multiple: int) -> tuple[Tensor, dict[int, Any]]:
    """Frames to trace a net with, and which of their sizes are free afterwards, by axis."""
    high, wide = (torch.export.Dim(side, min=2, max=LARGEST) for side in ("h", "w"))
    sizes = {0: torch.export.Dim("N", min=1, max=64), 1: multiple * high, 2: multiple * wide}
    return torch.zeros(2, 8 * multiple, 10 * multiple, 3, dtype=torch.uint8), sizes


def _fill(folder: Path, checkpoint: Path, *, validation: Validation, name: str) -> None:
    if not checkpoint.is_file():
        raise DataError(f"no checkpoint at {checkpoint}")
    folder.chmod(0o755)
    weights = folder / WEIGHTS
    shutil.copyfile(checkpoint, weights)  # first: a run that goes on may replace the checkpoint
    trained = load_checkpoint(weights)
    training = _training(trained, checkpoint)
    model = to_onnx(trained.net)
    onnx.save_model(model, folder / MODEL, save_as_external_data=False)
    files = (MODEL, WEIGHTS)
    manifest = Manifest(
        schema_version=1,
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit_here(),
        net=trained.name,
        arguments=trained.arguments,
        parameters=parameters_of(trained.net),
        input=InputRule(stride=trained.net.spec.stride, multiple=trained.net.spec.multiple),
        precisions={"fp32": MODEL},
        files={file: digest_of(folder / file) for file in files},
        validation=validation.parts,
        interval=validation.interval,
        training=training,
    )
    describe(folder, manifest)


def _training(trained: Checkpoint, path: Path) -> Training:
    try:
        recipe: Mapping[str, Any] = trained.facts["recipe"]
        return Training(
            data=tuple(part_in_words(part) for part in recipe["train"]),
            licence=LICENCE,
            steps=trained.facts["step"],
            recipe=recipe,
        )
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not say what it was trained on ({error}): train it again"
        ) from error


def _refuse_other_folders(out: Path) -> None:
    """An export replaces a folder whole: never one that holds anything but a bundle."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is not a folder: give another --out")
    other = sorted({one.name for one in out.glob("*")} - {MANIFEST, CARD, *FILES})
    if other:
        raise DataError(f"{out} holds {other[0]!r}, which is of no bundle: give another --out")


def _swap(new: Path, out: Path) -> None:
    if not out.exists():
        new.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent)) / out.name
    try:
        out.rename(old)
        new.rename(out)
    finally:
        if not out.exists():
            old.rename(out)
        shutil.rmtree(old.parent, ignore_errors=True)


def _strip(message: Any) -> None:
    """Remove what only says where and how the graph was written: stack traces hold paths."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                _strip(inner)


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns about its own insides, and about torchvision, which we do not use."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _rows(file: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    reader = csv.reader(lines)
    header = next(reader, [])
    if header != ["id", "predicted", "true"]:
        raise DataError(f"{file} starts with {','.join(header)!r}: wanted id,predicted,true")
    for number, row in enumerate(reader, start=2):
        try:
            name, predicted, true = row
            pair = float(predicted), float(true)
        except ValueError as error:
            raise DataError(f"{file} line {number} is not id,predicted,true") from error
        if not all(map(math.isfinite, pair)):
            raise DataError(f"{file} line {number} holds a count that is not a number")
        yield name, pair


def _scores(pairs: Sequence[tuple[float, float]]) -> PartScores:
    predicted, true = zip(*pairs, strict=True)
    scores = asdict(Scores.of(predicted=predicted, true=true))
    if math.isnan(scores["nae"]):
        scores["nae"] = None
    return PartScores(**scores)
