"""`throng probe`."""

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.console import Console

from models.errors import ConfigError, SourceError
from models.progress import progress
from service.ingest import Ask, redacted
from service.probe import probe as look
from service.probe import table


def probe(
    address: Annotated[
        str, typer.Argument(metavar="URL", help="As a camera's `source` in the settings.")
    ],
    rate: Annotated[float, typer.Option(min=0.01, help="Counts a second.")] = 2.0,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="The box that frames are scaled into.")
    ] = "768x432",
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to look.")] = 6.0,
    transport: Annotated[Literal["tcp", "udp"], typer.Option(help="Of RTSP.")] = "tcp",
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what a camera sends, how it would be read at a rate, and what that costs.

    Uses the service's own reading, without a model. A short interval of key frames in the camera's
    settings is what makes many cameras cheap: where key frames alone meet the rate, nothing else is
    decoded, and elsewhere nothing from the last picture that is due to the next key frame.
    """
    ask = Ask(address, size=_size(size), rate=rate, transport=transport)
    try:
        with progress("looking", total=round(seconds)) as tick:
            said = look(ask, seconds, tick=lambda passed_s: tick(round(passed_s)))
    except SourceError as error:
        raise ConfigError(f"{redacted(address)}: {error}") from None
    if json_:
        print(json.dumps({"source": redacted(address), **asdict(said)}))  # noqa: T201
    else:
        Console().print(table(said, ask))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise typer.BadParameter("width x height in pixels, as in 768x432")
    return int(width), int(height)
