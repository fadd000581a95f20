"""throng-deploy: make bundles from checkpoints, and check that engines agree with them."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy import parity as check
from deploy.bundle import ZOO, ParityRow, open_bundle, shipped
from deploy.engines import BACKENDS
from deploy.export import export as export_bundle
from models.errors import ThrongError
from models.progress import tracked

app = typer.Typer(
    help="Make bundles from trained checkpoints, and check that every engine counts like the net.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A best.safetensors.")],
    counts: Annotated[
        list[Path],
        typer.Option(help="From `throng-distill evaluate --counts FILE`; may be repeated."),
    ],
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "throng-m",
    out: Annotated[Path | None, typer.Option(help="Its folder [default: deploy/zoo/NAME].")] = None,
) -> None:
    """Make a bundle: ONNX model, weights, model card and manifest.

    The counts give the validation errors of each data set (the first word of a picture's id) and
    the interval around a count. An older bundle in the folder is replaced at the very end.
    """
    bundle = export_bundle(checkpoint, counts=counts, out=out or ZOO / name, name=name)
    console.print(f"bundle {bundle.name}: {bundle.folder}", soft_wrap=True)


@app.command()
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
    loses more than 0.5 % of MAE in any precision. Pictures without an index.csv have no true
    counts, so no MAE.
    """
    opened = open_bundle(bundle)
    engines = check.runnable(engine or ())
    some = check.pictures_of(pictures, limit=limit)
    follow = tracked("comparing", total=len(some))
    rows = check.parity(opened, follow(some), engines=engines)
    console.print(_table(rows))
    check.hold(rows)
    if write:
        check.record(opened, rows)


@app.command("list")
def list_() -> None:
    """Shipped bundles, and which engines can run here."""
    bundles = Table("bundle", "net", "parameters", "validation MAE")
    for name in shipped():
        m = open_bundle(name).manifest
        errors = ", ".join(f"{part} {scores.mae:.1f}" for part, scores in m.validation.items())
        bundles.add_row(m.name, m.net, f"{m.parameters / 1e6:.2f} M", errors)
    console.print(bundles)
    engines = Table("engine", "precisions, or why it cannot run here")
    for name in BACKENDS.names():
        backend = BACKENDS[name]
        engines.add_row(name, backend.unavailable() or ", ".join(backend.precisions()))
    console.print(engines)


def _table(rows: list[ParityRow]) -> Table:
    table = Table(
        "engine", "precision", "pictures", "worst count gap", "worst cell gap", "MAE lost"
    )
    for row in rows:
        lost = "-" if row.mae_lost is None else f"{row.mae_lost:+.3%}"
        gaps = (f"{row.worst_count_gap:.4%}", f"{row.worst_cell_gap:.5f}", lost)
        table.add_row(row.engine, row.precision, str(row.pictures), *gaps)
    return table


def main() -> None:
    try:
        app()
    except ThrongError as error:
        print(f"throng-deploy: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
