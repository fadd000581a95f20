"""throng-deploy: make bundles from checkpoints, check and measure the engines that run them."""

import typer

from deploy.commands import bench, build, export, names, parity, quantise, routes
from models.commands import run_command

app = typer.Typer(
    help="Make bundles from trained checkpoints, and check that every engine counts like the net.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # the default swallows what stands in square brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(export.export)
app.command()(parity.parity)
app.command()(quantise.quantise)
app.command()(routes.routes)
app.command()(bench.bench)
app.command()(build.build)
app.command("list")(names.list_)


def main() -> None:
    run_command(app, "throng-deploy")


if __name__ == "__main__":
    main()
