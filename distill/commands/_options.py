"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from models.errors import ConfigError

DATA = Path("../shared/data")
RUNS = Path("runs")
RESULTS = Path("distill/results")

Data = Annotated[Path, typer.Option(help="Folder that the data sets and initial weights lie in.")]
Runs = Annotated[Path, typer.Option(help="Folder that holds a folder a run.")]
Device = Annotated[
    str, typer.Option(help="auto (a GPU where one is; not tried on one yet), cpu or cuda.")
]
Threads = Annotated[int, typer.Option(min=0, help="Threads of the net; 0: as many as cores.")]


def size_hw(size: str) -> tuple[int, int]:
    """From width x height, as people say it. Raises ConfigError."""
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(f"--size {size!r}: wanted width x height, such as 768x432")
    return int(height), int(width)
