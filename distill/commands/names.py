"""`throng-distill list`."""

from rich.console import Console
from rich.table import Table

from distill.data import DATASETS
from distill.methods import METHODS
from distill.recipes import recipes
from distill.tables import TABLES
from models.nets import NETS


def list_() -> None:
    """Recipes, nets, methods, data sets and tables."""
    table = Table("kind", "names")
    table.add_row("recipes", "\n".join(f"{n}: {f.__doc__}" for n, f in sorted(recipes().items())))
    table.add_row("nets", ", ".join(NETS.names()))
    table.add_row("methods", ", ".join(METHODS.names()))
    table.add_row("data sets", ", ".join(DATASETS.names()))
    table.add_row("tables", ", ".join(TABLES.names()))
    Console().print(table)
