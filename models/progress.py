"""Progress of long work: a bar with the time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 30.0

T = TypeVar("T")


class Tick(Protocol):
    def __call__(self, done: int, note: str = "") -> None: ...


@contextmanager
def progress(what: str, *, total: int) -> Iterator[Tick]:
    """Yields a function to be told how much is done, and a note to show beside it."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total, note="")
            yield lambda done, note="": bar.update(task, completed=done, note=note)
    else:
        yield _Lines(what, total)


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._first: tuple[float, int] | None = None
        self._last_s = 0.0

    def __call__(self, done: int, note: str = "") -> None:
        now_s = time.monotonic()
        self._first = self._first or (now_s, done)
        if now_s - self._last_s < LINE_EVERY_S and done < self._total:
            return
        self._last_s = now_s
        since_s, base = self._first
        left_s = (now_s - since_s) / max(1, done - base) * (self._total - done)
        print(  # noqa: T201  # a command's own output
            f"{self._what} {done}/{self._total}, {left_s / 60:.1f} min left {note}",
            file=sys.stderr, flush=True,
        )  # fmt: skip


def tracked(what: str, *, total: int) -> Callable[[Iterable[T]], Iterator[T]]:
    """Wraps an iterable so that going through it shows progress."""

    def through(items: Iterable[T]) -> Iterator[T]:
        with progress(what, total=total) as tick:
            for done, item in enumerate(items, start=1):
                yield item
                tick(done)

    return through
