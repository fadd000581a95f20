"""Files that are written whole or not at all, and the folders that they go to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import DataError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """What is written to the path it gives becomes `path` at the end, or nothing does.

    Raises DataError where it cannot be written; what was there before is there still.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error}): make room and give the same command again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Raises DataError as `whole` does."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def folder_at(path: Path) -> Path:
    """The folder, made where it is missing: to be asked before long work, not after.

    Raises DataError where it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be a folder ({error.strerror}): choose another") from error
    return path
