"""`throng-distill corrupt`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from distill import robustness
from distill.commands._options import DATA, RESULTS, Data
from distill.corruptions import WORST
from models.checkpoint import load_checkpoint
from models.errors import ConfigError
from models.progress import tracked
from models.whole import folder_at


def corrupt(
    checkpoints: Annotated[
        list[str], typer.Argument(help="NAME=FILE.safetensors, one or more; the name is a column.")
    ],
    data: Data = DATA,
    severity: Annotated[float, typer.Option(min=0, max=WORST, help="Of every corruption.")] = 3.0,
    every: Annotated[int, typer.Option(min=1, help="Count every so many-th picture only.")] = 1,
    out: Annotated[Path, typer.Option(help="Where JSON and Markdown go.")] = RESULTS,
) -> None:
    """Count the validation pictures as a bad camera, light or weather would show them.

    For example `throng-distill corrupt s=deploy/zoo/throng-s/weights.safetensors`: noise, night,
    haze, motion, infrared and more, beside the pictures as they are.
    """
    nets = {name: load_checkpoint(path).net for name, path in map(_named, checkpoints)}
    folder_at(out)
    held = robustness.robustness(
        nets, robustness.parts_of(data, every=every), severity=severity,
        track=lambda cases: tracked("counting", total=len(cases))(cases),
    )  # fmt: skip
    paths = robustness.save(held, severity=severity, every=every, folder=out)
    Console().print(paths[-1].read_text(encoding="utf-8"), soft_wrap=True, markup=False)
    for path in paths:
        Console().print(f"saved {path}", soft_wrap=True)


def _named(given: str) -> tuple[str, Path]:
    name, equals, path = given.partition("=")
    if not (name and equals and path):
        raise ConfigError(f"{given!r}: wanted NAME=FILE.safetensors")
    return name, Path(path)
