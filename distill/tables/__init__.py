"""Tables of results: which runs make which rows. Each file holds `table = Table(...)`.

`throng-distill table NAME` reads the runs' folders and writes the numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from distill.recipes import Part
from models.errors import ConfigError
from models.plugins import Plugins

A_AND_B = {
    "part A": Part("pack", "val", prefix="sha_"),
    "part B": Part("pack", "val", prefix="shb_"),
}
PRODUCT = {
    **A_AND_B,
    "Beijing-BRT": Part("pack", "train_brt", fold="held"),
    "empty": Part("pack", "train_empty", fold="held"),
}


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seeds alone, by their recipes' names (and so their folders')."""

    name: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """`says` is the question that the table answers: it was written before the numbers."""

    title: str
    rows: tuple[Row, ...]
    says: str
    parts: Mapping[str, Part] = field(default_factory=lambda: dict(A_AND_B))
    compared: tuple[tuple[str, str], ...] = ()
    """Pairs of rows by name: is the first one's error lower than the second one's?"""
    scattered: tuple[str, ...] = ()
    """Rows whose counts are drawn against the truth."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a row is named that is not there, or two have one name."""
        names = [row.name for row in self.rows]
        asked = {*self.scattered, *(name for pair in self.compared for name in pair)}
        odd = sorted(asked - set(names)) + [name for name in names if names.count(name) > 1]
        if odd:
            raise ConfigError(f"table {self.title!r} has no row, or several, called {odd[0]!r}")


TABLES: Plugins[Table] = Plugins("distill.tables", "table")
