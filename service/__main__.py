"""throng: count people in pictures and live video. The only place that knows every part."""

import json
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated

import cv2
import typer
import uvicorn
from fastapi import FastAPI
from rich.console import Console
from rich.table import Table

from deploy.bundle import Bundle, open_bundle
from deploy.engines import Engine, load_engine
from models.commands import run_command
from models.density import Map, count
from models.errors import ConfigError, PictureError
from service import VERSION
from service.app import create_app, farewell
from service.overlay import encode, overlay
from service.pictures import decode
from service.pieces import Image, cut
from service.settings import Model, Settings, load_settings

app = typer.Typer(
    help="Throng counts people in pictures and live video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The YAML file of settings. Without one: the demo scene."),
]


class _Server(uvicorn.Server):
    """Lets websockets go in peace before it ends."""

    def __init__(self, listen: uvicorn.Config, application: FastAPI) -> None:
        super().__init__(listen)
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await farewell(self._application)
        await super().shutdown(sockets)


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Overrides server.host.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Overrides server.port; 0 takes a free one.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Where the history is kept.")] = Path("throng-data"),
) -> None:
    """Run the service: live page, REST, websocket and metrics on one port.

    Without --config it runs a built-in demo scene as camera `demo`, so that there is something to
    look at before the first camera is connected.
    """
    settings = load_settings(config)
    bundle, engine = _engine(settings.model)
    application = create_app(settings, bundle=bundle, engine=engine, data=data)
    server = settings.server
    listen = uvicorn.Config(
        application,
        host=host or server.host,
        port=server.port if port is None else port,
        log_level="warning",
        ws_max_size=65_536,
        limit_concurrency=1000,
        timeout_graceful_shutdown=8,
        server_header=False,
    )
    bound = listen.bind_socket()
    where, number = bound.getsockname()[:2]
    print(_hello(f"http://{where}:{number}", settings, bundle, engine), flush=True)  # noqa: T201
    for wish in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again once it has ended
        signal.signal(wish, lambda *_: sys.exit(0))
    _Server(listen, application).run([bound])


@app.command("count")
def count_(
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
    """Count the people in pictures.

    A picture that cannot be counted is reported and does not stop the others; exit code 2 says so.
    """
    if heatmap and len(pictures) != 1:
        raise typer.BadParameter("takes exactly one picture", param_hint="--heatmap")
    opened, engine = _engine(Model(bundle=bundle))
    table = Table("picture", "count", "interval", "size")
    failed = False
    for path in pictures:
        try:
            image, density = _counted(path, opened, engine)
        except PictureError as error:
            failed = True
            print(f"throng: {path}: {error}", file=sys.stderr)  # noqa: T201
            continue
        people = count(density)
        low, high = opened.manifest.interval.around(people)
        if json_:
            line = {
                "path": str(path),
                "count": round(people, 2),
                "interval": [round(low, 2), round(high, 2)],
            }
            print(json.dumps(line), flush=True)  # noqa: T201
        table.add_row(
            str(path),
            f"{people:.1f}",
            f"{low:.0f} to {high:.0f}",
            f"{image.shape[1]} x {image.shape[0]}",
        )
        if heatmap:
            _write_heatmap(heatmap, image, density, opened)
    engine.close()
    if not json_ and table.row_count:
        console.print(table)
    if failed:
        raise typer.Exit(2)


@app.command("check-config")
def check_config(
    config: Annotated[Path, typer.Argument(help="The YAML file of settings.")],
    schema: Annotated[
        bool, typer.Option(help="Print the JSON schema of the file instead.")
    ] = False,
) -> None:
    """Check a settings file and the bundle it names. Exit 0 fine, 2 settings, 3 bundle."""
    if schema:
        print(json.dumps(Settings.model_json_schema(), indent=2))  # noqa: T201
        return
    settings = load_settings(config)
    bundle = open_bundle(settings.model.bundle)
    cameras = ", ".join(sorted(settings.cameras)) or "none"
    print(f"{config}: fine. bundle {bundle.name}; cameras: {cameras}")  # noqa: T201


def _engine(model: Model) -> tuple[Bundle, Engine]:
    bundle = open_bundle(model.bundle)
    return bundle, load_engine(bundle, name=model.engine, precision=model.precision)


def _counted(path: Path, bundle: Bundle, engine: Engine) -> tuple[Image, Map]:
    """The picture at the size it was counted at, and its density map."""
    limits = Settings().server
    try:
        data = path.read_bytes()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise PictureError("picture_unreadable", why, status=400) from error
    image = decode(data, max_pixels=limits.max_picture_pixels)
    pieces = cut(image, bundle.manifest.input, max_side=limits.max_picture_side)
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


def _hello(url: str, settings: Settings, bundle: Bundle, engine: Engine) -> str:
    """What runs, what to open, what to type."""
    names = ", ".join(settings.cameras) or "none yet"
    runs = f"{bundle.name} on {engine.name} ({engine.precision})"
    return "\n".join(
        (
            f"Throng {VERSION}: {runs}, cameras: {names}",
            f"  live page   {url}/",
            f"  a picture   curl --data-binary @picture.jpg {url}/v1/count",
            f"  metrics     {url}/metrics",
            f"  the API     {url}/docs",
            "  stop with Ctrl-C",
        )
    )


def main() -> None:
    run_command(app, "throng")


if __name__ == "__main__":
    main()
