"""`throng-deploy bench`."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from deploy.bundle import open_bundle, shipped
from deploy.commands._shown import console, wide
from models.machine import cores
from models.progress import tracked
from models.whole import folder_at


def bench(  # noqa: PLR0913  # a command's options are its arguments
    bundle: Annotated[
        list[str] | None, typer.Argument(help="Names or folders [default: all that ship].")
    ] = None,
    net: Annotated[
        list[str] | None,
        typer.Option(
            help="Beside them, with random weights: NET or NET:argument=number,... The first is "
            "what ratios are taken to. May be repeated, as may the five below."
        ),
    ] = None,
    engine: Annotated[list[str] | None, typer.Option(help="[default: all here]")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="[default: all of each]")] = None,
    size: Annotated[list[str], typer.Option(help="Width x height.")] = ["768x432"],  # noqa: B006
    batch: Annotated[list[int], typer.Option(min=1, help="Frames a batch.")] = [1],  # noqa: B006
    lanes: Annotated[
        list[int] | None, typer.Option(min=1, help="Batches at once [default: 1 and all cores].")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of a second each.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Save JSON, Markdown and plot here.")] = None,
) -> None:
    """Measure speed, memory and time to load, every case in a process of its own.

    For example `throng-deploy bench --net csrnet:ratio=4 --engine openvino --out docs/bench`. Do
    nothing else on the machine meanwhile; the table says whether somebody did.
    """
    from deploy import bench as speed  # what other commands need not load
    from deploy import bench_page as page
    from deploy.bench_nets import random_bundle

    grid = speed.Grid(
        engines=engine or (), precisions=precision or (), sizes=size, batches=batch,
        lanes=lanes or sorted({1, cores()}), rounds=rounds,
    )  # fmt: skip
    if out:
        folder_at(out)
    with tempfile.TemporaryDirectory() as folder:
        bundles = [open_bundle(name) for name in bundle or shipped()]
        bundles += [
            random_bundle(spec, Path(folder) / str(number)) for number, spec in enumerate(net or ())
        ]
        cases = speed.cases_of(bundles, grid)
        measured = speed.bench(tracked("measuring", total=len(cases))(cases))
    reference = net[0] if net else None
    saved = page.save(measured, out, reference=reference) if out else ()
    wide.print(page.table(measured, reference=reference))
    for row in measured.rows:
        if row.error:
            what = f"{row.name}, {row.case.engine} {row.case.precision}"
            console.print(f"{what}: {row.error}", soft_wrap=True)
    for path in saved:
        console.print(f"saved {path}", soft_wrap=True)
