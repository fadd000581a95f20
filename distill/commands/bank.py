"""`throng-distill bank`."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from distill.bank import make_bank
from distill.commands._options import DATA, RUNS, Data, Device, Runs, Threads
from distill.loop import device_of
from distill.recipes import recipe


def bank(  # noqa: PLR0913  # a command's options are its arguments
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="One that draws from a bank.")],
    crops: Annotated[int, typer.Option(min=1, help="How many.")] = 8192,
    data: Data = DATA,
    runs: Runs = RUNS,
    out: Annotated[
        Path | None, typer.Option(help="Its folder [default: where the recipe looks for it].")
    ] = None,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Cut a recipe's crops and let its teachers say what they see, once and for many runs.

    Interrupt it whenever you like: the same command goes on where it stopped. Its crops are
    pictures of the data sets: never commit it.
    """
    if threads:
        torch.set_num_threads(threads)
    wanted = recipe(name)
    folder = out or runs / (wanted.bank or f"{name}-bank")
    where = device_of(device)
    made = make_bank(wanted, data=data, runs=runs, out=folder, crops=crops, device=where)
    Console().print(f"bank: {made}", soft_wrap=True)
