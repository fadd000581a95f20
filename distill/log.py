"""A run's log: a JSON object a line."""

import json
from pathlib import Path
from typing import Any

from models.errors import DataError


def append(path: Path, **fields: Any) -> None:
    """A line more. Half a line, which a power cut or a full disk left, is dropped before.

    Raises DataError where it cannot be written.
    """
    try:
        with path.open("a+b") as log:
            log.seek(0)
            log.truncate(log.read().rfind(b"\n") + 1)
            log.write(json.dumps(fields).encode() + b"\n")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error}): make room and go on") from error


def read(path: Path) -> list[dict[str, Any]]:
    """Its whole lines; none where there is no log yet. Raises DataError for one that is broken."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [dict(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is not the log of a run ({error})") from error
