"""The commands of `throng-distill` in one place."""

import typer

from distill.commands import adapt, bank, evaluate, names, run, speed, table

app = typer.Typer(
    help="Train crowd-counting students, and measure them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # the default swallows what stands in square brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.run)
app.command()(bank.bank)
app.command()(evaluate.evaluate)
app.command()(table.table)
app.command()(speed.speed)
app.command()(adapt.adapt)
app.command("list")(names.list_)
