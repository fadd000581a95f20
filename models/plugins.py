"""A file is a plug-in: its name is the file's name, and it is imported only when asked for.

A dash in a name is an underscore in the file (`throng-m` lives in `throng_m.py`). Files that start
with an underscore are shared parts, not plug-ins.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from models.errors import ConfigError

T = TypeVar("T")


class Plugins(Generic[T]):
    """The plug-ins of one package; each file holds one object called `attribute`."""

    def __init__(self, package: str, attribute: str) -> None:
        self.package = package
        self.attribute = attribute

    def names(self) -> list[str]:
        """Reads file names only: a missing framework hurts nobody who does not ask for it."""
        path = importlib.import_module(self.package).__path__
        found = (info.name for info in pkgutil.iter_modules(path))
        return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))

    def __getitem__(self, name: str) -> T:
        """Raises ConfigError for a name without a file, ImportError where a framework is absent."""
        if name not in self.names():
            raise ConfigError(f"{self.package} has no {name!r}; it has {', '.join(self.names())}")
        module = importlib.import_module(f"{self.package}.{name.replace('-', '_')}")
        return cast("T", getattr(module, self.attribute))


def functions_of(package: str) -> dict[str, Callable[..., Any]]:
    """Every public function that a package's files define, by name, with dashes."""
    found: dict[str, Callable[..., Any]] = {}
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                found[name.replace("_", "-")] = function
    return found
