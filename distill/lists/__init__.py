"""Lists of picture ids, kept in the repository: which pictures a protocol calls labelled.

A list is a text file with an id a line; lines that begin with # say how it was made.
"""

from functools import cache
from pathlib import Path

from models.errors import ConfigError

HERE = Path(__file__).parent


@cache
def ids(name: str) -> frozenset[str]:
    """Raises ConfigError for a name without a file."""
    path = HERE / f"{name}.txt"
    if not path.is_file():
        there = ", ".join(sorted(found.stem for found in HERE.glob("*.txt")))
        raise ConfigError(f"distill.lists has no {name!r}; it has {there}")
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))
