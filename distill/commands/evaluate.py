"""`throng-distill evaluate`."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from distill.commands._options import DATA, Data
from distill.crops import samples_of
from distill.evaluate import Counted, counts_of, scores_by_part
from distill.published import LAYOUTS, published
from distill.recipes import Fold, Part
from models.checkpoint import load_checkpoint
from models.progress import tracked


def evaluate(  # noqa: PLR0913  # a command's options are its arguments
    checkpoint: Annotated[Path, typer.Argument(help="A best.safetensors, or see --published.")],
    data: Data = DATA,
    dataset: Annotated[str, typer.Option(help="See `throng-distill list`.")] = "pack",
    split: Annotated[str, typer.Option(help="One of the data set's splits.")] = "val",
    folder: Annotated[str, typer.Option(help="Where the data set lies, below --data.")] = ".",
    fold: Annotated[Fold, typer.Option(help="held: every eighth picture.")] = "all",
    layout: Annotated[
        str, typer.Option("--published", help=f"Of the code of others: {', '.join(LAYOUTS)}.")
    ] = "",
    scale: Annotated[
        float, typer.Option(min=0.1, max=10, help="Resize pictures first: do counts hold?")
    ] = 1.0,
    json_out: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    counts: Annotated[Path | None, typer.Option(help="A CSV of id,predicted,true.")] = None,
) -> None:
    """Count whole pictures in fp32 and print MAE, RMSE, NAE and bias of each part.

    "trimmed" leaves out the three largest errors of a part. Numbers on a validation split are
    validation numbers: the checkpoint was chosen on them.
    """
    read = published(checkpoint, layout) if layout else load_checkpoint(checkpoint)
    samples = samples_of(Part(dataset, split, folder=folder, fold=fold), data)
    counted = counts_of(
        samples, read.net, scale=scale, track=tracked("counting", total=len(samples))
    )
    if counts:
        _write_counts(counts, counted)
    scores = scores_by_part(counted)
    if json_out:
        print(json.dumps({part: s.plain() for part, s in scores.items()}))  # noqa: T201
        return
    table = Table("part", "pictures", "MAE", "trimmed", "RMSE", "NAE", "bias", "mean count")
    for part, s in scores.items():
        numbers = (s.mae, s.mae_trimmed, s.rmse, s.nae, s.bias, s.mean_true)
        table.add_row(part, str(s.pictures), *(_two_places(number) for number in numbers))
    Console().print(table)


def _two_places(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.2f}"


def _write_counts(path: Path, counted: list[Counted]) -> None:
    lines = [f"{one.id},{one.predicted:.3f},{one.true}" for one in counted]
    path.write_text("\n".join(["id,predicted,true", *lines]) + "\n", encoding="utf-8")
