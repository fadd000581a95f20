"""`throng-deploy quantise`."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.bundle import open_bundle
from deploy.commands._shown import console


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
    from deploy.parity import pictures_of  # what other commands need not load
    from deploy.quantise import quantise as add_int8

    opened = open_bundle(bundle)
    some = [picture for folder in pictures for picture in pictures_of(folder, limit=limit)]
    add_int8(opened, (picture.read() for picture in some))
    console.print(f"int8 added to bundle {opened.name}: {opened.folder}", soft_wrap=True)
