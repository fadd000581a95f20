"""throng: count people in pictures and live video."""

from typing import Annotated

import typer

from models.commands import run_command
from service import VERSION
from service.commands import bench, check, count, probe, serve

app = typer.Typer(
    help="Throng counts people in pictures and live video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # the default swallows what stands in square brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
