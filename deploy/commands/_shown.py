"""Where commands print."""

from rich.console import Console

WIDE = 200  # a table of numbers that is cut says nothing: let a narrow terminal wrap it

console = Console(markup=False)  # names, paths and errors may hold square brackets
wide = Console(width=WIDE, markup=False)
