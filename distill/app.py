"""The commands of `throng-distill` in one place."""

from distill.commands import adapt, bank, corrupt, evaluate, names, run, speed, table
from models.commands import command_line

app = command_line("Train crowd-counting students, and measure them.")
app.command()(run.run)
app.command()(bank.bank)
app.command()(evaluate.evaluate)
app.command()(corrupt.corrupt)
app.command()(table.table)
app.command()(speed.speed)
app.command()(adapt.adapt)
app.command("list")(names.list_)
