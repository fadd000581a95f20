"""`throng count`."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.bundle import Bundle, open_bundle
from deploy.engines import Engine, load_engine
from models.density import Map
from models.density import count as people_in
from models.errors import ConfigError, PictureError
from service.counting import COARSE
from service.overlay import encode, overlay
from service.pictures import decode
from service.pieces import Image, cut
from service.settings import Settings


def count(
    pictures: Annotated[
        list[Path], typer.Argument(metavar="PICTURE...", help="JPEG, PNG or WebP.")
    ],
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    heatmap: Annotated[
        Path | None,
        typer.Option(help="Write the density over the picture here (PNG; one picture)."),
    ] = None,
    bundle: Annotated[str, typer.Option(help="A shipped bundle's name, or a folder.")] = "throng-m",
) -> None:
    """Count the people in pictures: a table on a terminal, a line of tab-separated cells elsewhere.

    A picture that cannot be counted is reported and does not stop the others; exit code 2 says so.
    """
    if heatmap and len(pictures) != 1:
        raise typer.BadParameter("takes exactly one picture", param_hint="--heatmap")
    if heatmap and (heatmap.suffix.lower() != ".png" or heatmap.resolve() == pictures[0].resolve()):
        says = f"{heatmap}: wanted the name of a new file, *.png"
        raise typer.BadParameter(says, param_hint="--heatmap")
    opened = open_bundle(bundle)
    engine = load_engine(opened, name="auto", precision="auto")
    console, table = Console(), Table("picture", "count", "interval", "size")
    failed = False
    for path in pictures:
        try:
            image, density = _counted(path, opened, engine)
        except PictureError as error:
            failed = True
            print(f"throng: {path}: {error}", file=sys.stderr)  # noqa: T201
            continue
        people = people_in(density)
        low, high = opened.manifest.interval.around(people)
        cells = (
            f"{people:.1f}",
            f"{low:.0f} to {high:.0f}",
            f"{image.shape[1]} x {image.shape[0]}",
        )
        if json_:
            interval = [round(low, 2), round(high, 2)]
            line = {"path": str(path), "count": round(people, 2), "interval": interval}
            print(json.dumps(line), flush=True)  # noqa: T201
        elif console.is_terminal:
            table.add_row(Text(_name(path), overflow="fold"), *cells)
        else:
            print(_name(path), *cells, sep="\t", flush=True)  # noqa: T201
        if heatmap:
            _write_heatmap(heatmap, image, density, opened)
    engine.close()
    if table.row_count:
        console.print(table)
    if failed:
        raise typer.Exit(2)


def _name(path: Path) -> str:
    """Fit to be printed: a name may be any bytes."""
    return os.fsencode(path).decode(errors="replace")


def _counted(path: Path, bundle: Bundle, engine: Engine) -> tuple[Image, Map]:
    """The picture at the size it was counted at, and its density map."""
    limits = Settings().server
    try:
        data = path.read_bytes()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise PictureError("picture_unreadable", why, status=400) from error
    image = decode(data, max_pixels=limits.max_picture_pixels)
    pieces = cut(image, bundle.manifest.input, max_side=limits.max_picture_side, coarse=COARSE)
    futures = [engine.submit(piece.image_HW3[None]) for piece in pieces.pieces]
    density = pieces.join((future.result()[0] for future in futures), bundle.manifest.input.stride)
    if image.shape[:2] != pieces.size:
        image = cv2.resize(image, pieces.size[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return image, density


def _write_heatmap(path: Path, image: Image, density: Map, bundle: Bundle) -> None:
    stride = bundle.manifest.input.stride
    try:
        path.write_bytes(encode(overlay(image, density, preview="clear", stride=stride), "png"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
