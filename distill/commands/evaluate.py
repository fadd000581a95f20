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
from distill.evaluate import LEVELS, Counted, counts_of, games_by_part, scores_by_part
from distill.published import LAYOUTS, published
from distill.recipes import Fold, Part
from models.checkpoint import load_checkpoint
from models.progress import tracked
from models.whole import folder_at, write_text


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
    """Count whole pictures in fp32 and print MAE, RMSE, NAE, bias and GAME of each part.

    "trimmed" leaves out the three largest errors of a part. GAME adds up the errors of 4, 16 and 64
    regions of a picture: how far people are where the density map says. Numbers on a validation
    split are validation numbers: the checkpoint was chosen on them.
    """
    if counts:
        folder_at(counts.parent)
    read = published(checkpoint, layout) if layout else load_checkpoint(checkpoint)
    samples = samples_of(Part(dataset, split, folder=folder, fold=fold), data)
    counted = counts_of(
        samples, read.net, scale=scale, track=tracked("counting", total=len(samples))
    )
    if counts:
        _write_counts(counts, counted)
    scores, games = scores_by_part(counted), games_by_part(counted)
    if json_out:
        said = {part: s.plain() | {"game": games[part]} for part, s in scores.items()}
        print(json.dumps(said))  # noqa: T201
        return
    levels = "GAME " + ", ".join(str(level) for level in LEVELS)
    table = Table("part", "pictures", "MAE", "trimmed", "RMSE", "NAE", "bias", levels, "mean count")
    for part, s in scores.items():
        errors = [_two_places(one) for one in (s.mae, s.mae_trimmed, s.rmse, s.nae, s.bias)]
        grids = ", ".join(f"{one:.1f}" for one in games[part])
        table.add_row(part, str(s.pictures), *errors, grids, _two_places(s.mean_true))
    Console().print(table)


def _two_places(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.2f}"


def _write_counts(path: Path, counted: list[Counted]) -> None:
    lines = [f"{one.id},{one.predicted:.3f},{one.true}" for one in counted]
    write_text(path, "\n".join(["id,predicted,true", *lines]) + "\n")
