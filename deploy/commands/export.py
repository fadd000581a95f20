"""`throng-deploy export`."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.bundle import ZOO
from deploy.commands._shown import console


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
    from deploy.export import export as export_bundle  # what other commands need not load

    bundle = export_bundle(checkpoint, counts=counts, out=out or ZOO / name, name=name)
    console.print(f"bundle {bundle.name}: {bundle.folder}", soft_wrap=True)
