"""`throng-distill speed`."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from distill import speed as racing
from distill.commands._options import RESULTS, Threads, size_hw
from models.whole import folder_at


def speed(  # a command's options are its arguments
    teacher: Annotated[str, typer.Argument(help="A .safetensors, NET, or NET:argument=number,...")],
    student: Annotated[str, typer.Argument(help="Another, for example csrnet:ratio=4.")],
    size: Annotated[str, typer.Option(help="Width x height.")] = "864x576",
    rounds: Annotated[int, typer.Option(min=1, help="One frame of each a round.")] = 15,
    threads: Threads = 0,
    out: Annotated[Path, typer.Option(help="Where JSON and Markdown go.")] = RESULTS,
) -> None:
    """Time two nets in torch on this machine, in turns, fp32, one frame at a time.

    For example `throng-distill speed csrnet csrnet:ratio=4`. Do nothing else on the machine
    meanwhile. How fast a bundle is in the engines that serve it, `throng-deploy bench` says.
    """
    if threads:
        torch.set_num_threads(threads)
    folder_at(out)
    nets = [(what, racing.net_of(what)) for what in (teacher, student)]
    found = racing.race(nets, size_hw=size_hw(size), rounds=rounds)
    for one in (found.teacher, found.student):
        Console().print(f"{one.name}: {one.median_ms:.1f} ms, {one.gmacs:.1f} GMAC")
    Console().print(f"ratio {found.ratio:.2f}")
    for path in racing.save(found, out):
        Console().print(f"saved {path}", soft_wrap=True)
