"""Files that are written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

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
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} cannot be written ({error}): make room and give the same command again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
