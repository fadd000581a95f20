"""`throng bench`."""

import shlex
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

UNTOLD = ("sources", "server_pid", "out")  # addresses, and what is of this machine alone


def bench(  # noqa: PLR0913  # a command's options are its arguments
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files or rtsp:// [default: a drawn clip]."),
    ] = None,
    size: Annotated[str, typer.Option(help="Of the drawn clip: 1080p, 720p or 360p.")] = "1080p",
    rate: Annotated[float, typer.Option(help="Counts a second asked of each camera.")] = 2.0,
    bundle: Annotated[str, typer.Option(help="A shipped bundle's name, or a folder.")] = "throng-m",
    precision: Annotated[str, typer.Option(help="auto, or one of the bundle's.")] = "auto",
    decode: Annotated[str, typer.Option(help="auto, all or keyframes.")] = "auto",
    start: Annotated[int, typer.Option(min=1, help="Cameras to begin with.")] = 4,
    most: Annotated[int, typer.Option(min=1, help="Never try more.")] = 256,
    cameras: Annotated[int | None, typer.Option(min=1, help="Only this many: no search.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Of the window that confirms.")] = 60.0,
    load: Annotated[float, typer.Option(min=0, max=1, help="Measured again at this share.")] = 0.7,
    fresh: Annotated[
        float, typer.Option(min=0.01, help="Goal: p99 from capture to listener, s.")
    ] = 1.0,
    server_pid: Annotated[int | None, typer.Option(help="What sends the streams, if here.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Results [default: service/results in a checkout, else ./results]."),
    ] = None,
) -> None:
    """Find how many cameras this machine holds at a rate, and what they take.

    Runs the service with more and more cameras and listens to it: they are held while each comes
    at 95 % of its rate and 99 of 100 counts are fresh. Do nothing else on the machine meanwhile.
    """
    from service.bench import clips, page, probe, report, serving  # what `serve` need not load

    console = Console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its children end with it
    asked = serving.Load(
        sources or ["demo"], rate=rate, bundle=bundle, precision=precision, decode=decode
    )
    prober = probe.Prober(asked, probe.Goal(fresh_s=fresh), server=server_pid)
    plan = report.Plan(start=start, most=most, cameras=cameras, seconds=seconds, part=load)
    report.check(prober, plan)
    folder = page.writable(out or page.folder())
    if not sources:
        drawn = [str(clips.clip_of(size))]
        prober = replace(prober, load=replace(asked, sources=drawn))
    found = report.bench(prober, plan, partial(print, flush=True), made_by=as_given(context))
    console.print(page.table(found))
    for path in page.save(found, folder):
        console.print(f"saved {path}", markup=False, soft_wrap=True)
    if not found.held:
        raise typer.Exit(1)


def as_given(context: typer.Context) -> str:
    """The command, with the kinds of its sources in place of their addresses."""
    from service.ingest import kind_of  # what `--help` need not load

    words = ["throng", "bench", *(kind_of(one).upper() for one in context.params["sources"] or ())]
    for option in context.command.params:
        name = option.name or ""
        source = context.get_parameter_source(name)
        if source and source.name == "COMMANDLINE" and name not in UNTOLD:
            words += [option.opts[0], str(context.params[name])]
    return shlex.join(words)
