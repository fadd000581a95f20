"""`throng-deploy build`."""

from typing import Annotated

import typer

from deploy.bundle import open_bundle
from deploy.commands._shown import console
from deploy.engines import BACKENDS, Builds, Precision, proven
from models.errors import ConfigError, EngineError


def build(
    bundle: Annotated[
        str, typer.Argument(help="A shipped bundle's name, or a folder (with a slash).")
    ],
    engine: Annotated[str, typer.Option(help="One that is built ahead.")] = "tensorrt",
    precision: Annotated[
        Precision, typer.Option(help="What it computes in; auto is what it would run.")
    ] = "auto",
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
    path = backend.build(opened, precision=precision)
    console.print(f"built {path}", soft_wrap=True)
