"""throng-distill: train students, teach them, measure them, adapt them to a site."""

import typer

from distill.commands import adapt, bank, evaluate, names, run, speed, table
from models.commands import run_command

app = typer.Typer(
    help="Train crowd-counting students, and measure them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # the default swallows what stands in square brackets
)
app.command()(run.run)
app.command()(bank.bank)
app.command()(evaluate.evaluate)
app.command()(table.table)
app.command()(speed.speed)
app.command()(adapt.adapt)
app.command("list")(names.list_)


def main() -> None:
    run_command(app, "throng-distill")


if __name__ == "__main__":
    main()
