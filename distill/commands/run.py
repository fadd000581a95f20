"""`throng-distill run`."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from distill.commands._options import DATA, RUNS, Data, Device, Threads
from distill.loop import device_of
from distill.recipes import recipe
from distill.run import train


def run(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="See `throng-distill list`; NAME-2 is NAME with seed 2."
        ),
    ],
    data: Data = DATA,
    out: Annotated[Path | None, typer.Option(help="Its folder [default: runs/RECIPE].")] = None,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Train a recipe, going on where its folder stopped.

    Interrupt it whenever you like: the same command goes on from the last saved step (saved every
    three minutes). The folder holds recipe.json, log.jsonl, curve.png, predictions-STEP.png,
    state.safetensors, best.safetensors and last.safetensors.
    """
    if threads:
        torch.set_num_threads(threads)
    best = train(recipe(name), data=data, out=out or RUNS / name, device=device_of(device))
    Console().print(f"best checkpoint: {best}")
