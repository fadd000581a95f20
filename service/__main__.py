"""throng: count people in pictures and live video."""

from typing import Annotated

import typer

from models.commands import command_line, run_command
from service import VERSION
from service.commands import bench, check, count, probe, serve

app = command_line("Throng counts people in pictures and live video.")


def _version(asked: bool) -> None:
    if asked:
        print(f"throng {VERSION}")  # noqa: T201  # a command's own output
        raise typer.Exit


@app.callback()
def throng(
    version: Annotated[
        bool, typer.Option("--version", help="Say which this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Throng counts people in pictures and live video."""


app.command()(serve.serve)
app.command()(count.count)
app.command()(probe.probe)
app.command("check-config")(check.check_config)
app.command()(bench.bench)


def main() -> None:
    run_command(app, "throng")


if __name__ == "__main__":
    main()
