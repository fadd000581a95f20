"""throng-deploy: make bundles from checkpoints, check and measure the engines that run them."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy import bench as speed
from deploy import bench_page as page
from deploy import compare_page as routes_page
from deploy import parity as check
from deploy.bench_nets import random_bundle
from deploy.bundle import ZOO, ParityRow, open_bundle, shipped
from deploy.card import lost_in_words
from deploy.compare import compare
from deploy.engines import BACKENDS, Backend, Builds, Precision, proven
from deploy.export import export as export_bundle
from deploy.quantise import crops_of
from deploy.quantise import quantise as add_int8
from deploy.routes import chosen as chosen_routes
from models.commands import run_command
from models.errors import ConfigError, EngineError
from models.progress import tracked

app = typer.Typer(
    help="Make bundles from trained checkpoints, and check that every engine counts like the net.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # the default swallows what stands in square brackets
)
console = Console(markup=False)  # names, paths and errors may hold square brackets
WIDE = 200  # a table of numbers that is cut says nothing: let a narrow terminal wrap it


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
    loses more than 0.5 % of MAE on any data set (int8: 1.5 %). Pictures without an
    index.csv have no true counts, so no MAE: coarser engines than fp32 can only be looked at there
    (`--no-write`). An engine runs int8 only where the manifest says that it was held to the net.
    """
    opened = open_bundle(bundle)
    engines = check.runnable(opened, engine or ())
    some = check.pictures_of(pictures, limit=limit)
    follow = tracked("comparing", total=len(some))
    rows = check.parity(opened, follow(some), engines=engines)
    console.print(_table(rows))
    check.hold(rows)
    if write:
        check.record(opened, rows)


@app.command()
def quantise(
    bundle: Annotated[
        str, typer.Argument(help="A shipped bundle's name, or a folder (with a slash).")
    ],
    pictures: Annotated[
        list[Path],
        typer.Option(
            help="To calibrate on: a split of the data pack (train, never val), or a folder of "
            "pictures like those to be counted. May be repeated."
        ),
    ],
    limit: Annotated[int, typer.Option(min=1, help="So many of each, spread evenly.")] = 128,
) -> None:
    """Add an int8 model to a bundle. No engine takes it before `parity` has held it to the net."""
    opened = open_bundle(bundle)
    some = [picture for folder in pictures for picture in check.pictures_of(folder, limit=limit)]
    add_int8(opened, (picture.read() for picture in some))
    console.print(f"int8 added to bundle {opened.name}: {opened.folder}", soft_wrap=True)


@app.command()
def routes(
    bundle: Annotated[
        str, typer.Argument(help="A shipped bundle's name, or a folder (with a slash).")
    ],
    calibrate: Annotated[Path, typer.Option(help="Pictures to calibrate on: the split train.")],
    pictures: Annotated[Path, typer.Option(help="A split of the data pack to be judged on: val.")],
    route: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many to calibrate on.")] = 64,
    out: Annotated[Path | None, typer.Option(help="Save JSON and Markdown here.")] = None,
) -> None:
    """Compare ways to int8: ours, ONNX Runtime's, torchao's, NNCF's. The bundle stays as it is.

    Each makes its graph from the same crops, and OpenVINO counts with it. The tools come with
    `pip install 'throng[routes]'`; one that is not there is left out, and the table says so.
    """
    opened = open_bundle(bundle)
    if out:
        page.make(out)
    ways, judges = chosen_routes(route or ()), check.pictures_of(pictures)
    crops = crops_of(one.read() for one in check.pictures_of(calibrate, limit=limit))
    compared = compare(opened, ways, crops=crops, pictures=judges)
    Console(width=WIDE, markup=False).print(routes_page.table(compared))
    for path in routes_page.save(compared, out) if out else ():
        console.print(f"saved {path}", soft_wrap=True)


@app.command()
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
    grid = speed.Grid(
        engines=engine or (), precisions=precision or (), sizes=size, batches=batch,
        lanes=lanes or sorted({1, len(os.sched_getaffinity(0))}), rounds=rounds,
    )  # fmt: skip
    if out:
        page.make(out)
    with tempfile.TemporaryDirectory() as folder:
        bundles = [open_bundle(name) for name in bundle or shipped()]
        bundles += [
            random_bundle(spec, Path(folder) / str(number)) for number, spec in enumerate(net or ())
        ]
        cases = speed.cases_of(bundles, grid)
        measured = speed.bench(tracked("measuring", total=len(cases))(cases))
    reference = net[0] if net else None
    saved = page.save(measured, out, reference=reference) if out else ()
    Console(width=WIDE, markup=False).print(page.table(measured, reference=reference))
    for row in measured.rows:
        if row.error:
            what = f"{row.name}, {row.case.engine} {row.case.precision}"
            console.print(f"{what}: {row.error}", soft_wrap=True)
    for path in saved:
        console.print(f"saved {path}", soft_wrap=True)


@app.command()
def build(
    bundle: Annotated[
        str, typer.Argument(help="A shipped bundle's name, or a folder (with a slash).")
    ],
    engine: Annotated[str, typer.Option(help="One that is built ahead.")] = "tensorrt",
    precision: Annotated[
        Precision, typer.Option(help="What it computes in; auto is what it would run.")
    ] = "auto",
    cache: Annotated[
        Path | None, typer.Option(help="Where to keep it [default: where the engine looks].")
    ] = None,
) -> None:
    """Build an engine on the machine that will serve, so that its first start takes no minutes.

    It is built anew even where there is one. An engine that was built for another GPU, driver or
    version is never loaded: it is built again at the start.
    """
    opened = open_bundle(bundle)
    backend = BACKENDS[engine]
    if not isinstance(backend, Builds):
        raise ConfigError(f"{engine} builds nothing ahead: it is ready when it is loaded")
    reason = backend.unavailable()
    if reason is not None:
        raise EngineError(f"{engine} cannot run here: {reason}")
    if precision == "auto":
        precision = proven(opened, engine)
    path = backend.build(opened, precision=precision, folder=cache)
    console.print(f"built {path}", soft_wrap=True)


@app.command("list")
def list_() -> None:
    """Shipped bundles, and which engines can run here."""
    bundles = Table("bundle", "net", "parameters", "validation MAE")
    for name in shipped():
        m = open_bundle(name).manifest
        errors = ", ".join(f"{part} {scores.mae:.1f}" for part, scores in m.validation.items())
        bundles.add_row(m.name, m.net, f"{m.parameters / 1e6:.2f} M", errors)
    console.print(bundles)
    engines = Table("engine", "precisions of each bundle, or why it cannot run here")
    for name in BACKENDS.names():
        backend = BACKENDS[name]
        engines.add_row(name, backend.unavailable() or _runs(backend))
    console.print(engines)


def _runs(backend: Backend) -> str:
    opened = (open_bundle(name) for name in shipped())
    return "; ".join(f"{one.name}: {', '.join(backend.precisions(one))}" for one in opened)


def _table(rows: list[ParityRow]) -> Table:
    table = Table(
        "engine", "precision", "pictures", "worst count gap", "worst cell gap", "MAE lost"
    )
    for row in rows:
        gaps = (f"{row.worst_count_gap:.4%}", f"{row.worst_cell_gap:.5f}", lost_in_words(row))
        table.add_row(row.engine, row.precision, str(row.pictures), *gaps)
    return table


def main() -> None:
    run_command(app, "throng-deploy")


if __name__ == "__main__":
    main()
