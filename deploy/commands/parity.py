"""`throng-deploy parity`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from deploy.bundle import ParityRow, open_bundle
from deploy.card import lost_in_words
from deploy.commands._shown import console
from models.progress import tracked


def parity(
    bundle: Annotated[
        str, typer.Argument(help="A shipped bundle's name, or a folder (with a slash).")
    ],
    pictures: Annotated[
        Path,
        typer.Option(
            help="A split of the data pack (index.csv, images/), or a folder of pictures."
        ),
    ],
    engine: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many pictures, spread evenly.")
    ] = None,
    write: Annotated[bool, typer.Option(help="Put the result into manifest and card.")] = True,
) -> None:
    """Compare every engine and precision that can run here with the trained net.

    Fails, and writes nothing, where a count is off by more than 0.1 % in fp32, or where an engine
    loses more than 0.5 % of MAE on any data set (int8: 1.5 %). Pictures without an
    index.csv have no true counts, so no MAE: coarser engines than fp32 can only be looked at there
    (`--no-write`). An engine runs int8 only where the manifest says that it was held to the net.
    """
    from deploy import parity as check  # what other commands need not load

    opened = open_bundle(bundle)
    engines = check.runnable(opened, engine or ())
    some = check.pictures_of(pictures, limit=limit)
    follow = tracked("comparing", total=len(some))
    rows = check.parity(opened, follow(some), engines=engines)
    console.print(_table(rows))
    check.hold(rows)
    if write:
        check.record(opened, rows)


def _table(rows: list[ParityRow]) -> Table:
    table = Table(
        "engine", "precision", "pictures", "worst count gap", "worst cell gap", "MAE lost"
    )
    for row in rows:
        gaps = (f"{row.worst_count_gap:.4%}", f"{row.worst_cell_gap:.5f}", lost_in_words(row))
        table.add_row(row.engine, row.precision, str(row.pictures), *gaps)
    return table
