"""`throng-deploy routes`."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.bundle import open_bundle
from deploy.commands._shown import console, wide
from models.whole import folder_at


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
    from deploy import compare_page as page  # what other commands need not load
    from deploy.compare import compare
    from deploy.parity import pictures_of
    from deploy.quantise import crops_of
    from deploy.routes import chosen

    opened = open_bundle(bundle)
    if out:
        folder_at(out)
    ways, judges = chosen(route or ()), pictures_of(pictures)
    crops = crops_of(one.read() for one in pictures_of(calibrate, limit=limit))
    compared = compare(opened, ways, crops=crops, pictures=judges)
    wide.print(page.table(compared))
    for path in page.save(compared, out) if out else ():
        console.print(f"saved {path}", soft_wrap=True)
