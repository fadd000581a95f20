"""`throng-distill table`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from distill.commands._options import DATA, RESULTS, RUNS, Data, Runs
from distill.tables import TABLES
from distill.tables._measured import measure, see
from distill.tables._page import draw_worst, save
from models.whole import folder_at


def table(
    name: Annotated[str, typer.Argument(metavar="TABLE", help="See `throng-distill list`.")],
    runs: Runs = RUNS,
    data: Data = DATA,
    out: Annotated[Path, typer.Option(help="Where the results go.")] = RESULTS,
    worst: Annotated[
        bool,
        typer.Option(
            help="Also draw, into each run's folder, worst.png: the ten pictures that it counts "
            "worst, with maps. It shows pictures of the data sets: never commit it."
        ),
    ] = False,
) -> None:
    """Count the validation pictures with every run of a table, and write its numbers.

    The pictures are counted in full and in fp32, with the best and with the last checkpoint of each
    run; counts.csv in the run's folder keeps them (remove it to count again). Written are JSON,
    Markdown and plots that show no picture. Runs that are missing are listed with their commands.
    """
    wanted = TABLES[name]
    folder_at(out)
    seen = see(wanted, runs=runs, data=data)
    paths = save(measure(wanted, seen), wanted, seen, name=name, out=out)
    if worst:
        paths += draw_worst(wanted, seen, runs=runs, data=data)
    for path in paths:
        Console().print(f"saved {path}", soft_wrap=True)
