"""The folder that keeps plans, and what a plan depends on.

A plan runs only on the TensorRT version and GPU class that built it, so it is built on the machine
that serves, once: its file's name holds the hash of all that it depends on.
Shapes: N frames, H x W pixels.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.errors import EngineError

log = logging.getLogger(__name__)

EFFORT = 3
REWRITING = 2  # raise it when graph.py changes what it makes of a model: old plans are of another
WORKSPACE_BYTES = 2 << 30
LARGEST_NHW = ((1, 2176, 3840), (16, 1088, 1920), (1, 3840, 2176))
BEST_NHW = ((1, 1088, 1920), (8, 576, 768), (1, 1920, 1088))


@dataclass(frozen=True)
class Profile:
    """The sizes that a plan takes: TensorRT picks the fastest kernels for `best`."""

    low: tuple[int, int, int]
    best: tuple[int, int, int]
    high: tuple[int, int, int]


def profiles(multiple: int) -> tuple[Profile, ...]:
    """One for a single frame up to 4K, lying or upright, one for batches up to full HD: a wide one
    would be slow.
    """
    return tuple(
        Profile((1, multiple, multiple), _down(best, multiple), _down(high, multiple))
        for best, high in zip(BEST_NHW, LARGEST_NHW, strict=True)
    )


@dataclass(frozen=True)
class Facts:
    """All that a plan depends on."""

    onnx: str
    precision: str
    tensorrt: str
    gpu: str
    driver: str
    profiles: tuple[Profile, ...]
    workspace_bytes: int = WORKSPACE_BYTES
    effort: int = EFFORT
    rewriting: int = REWRITING

    @property
    def key(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def differs(self, other: Mapping[str, Any]) -> str:
        """What is no longer as it was, in words."""
        mine: dict[str, Any] = json.loads(self.text)
        changed = [name for name in mine if mine[name] != other.get(name)]
        long = {"onnx": "another model", "profiles": "other profiles"}
        return ", ".join(
            long.get(name, f"{name} {other.get(name)} and not {mine[name]}") for name in changed
        )


class Plans:
    """A folder of plans. Each lies beside a text file of what it was built for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, bundle: str, facts: Facts) -> bytes | None:
        """The plan for exactly these facts; says in one line why there is none."""
        try:
            return self._found(bundle, facts)
        except OSError as error:
            log.warning("plans in %s cannot be read (%s): building again", self._folder, error)
            return None

    def _found(self, bundle: str, facts: Facts) -> bytes | None:
        path = self.path(bundle, facts)
        about = _read_facts(path.with_suffix(".json"))
        if about is not None and path.is_file():
            plan = path.read_bytes()
            if about.get("plan") == hashlib.sha256(plan).hexdigest():
                return plan
            log.warning("%s was altered: building it again", path)
            return None
        pattern = f"{_safe(bundle)}-{facts.precision}-*.json"
        for old in sorted(self._folder.glob(pattern), key=lambda one: one.stat().st_mtime)[-1:]:
            why = facts.differs(_read_facts(old) or {})
            log.warning("the plan of %s is for %s: building it again", bundle, why)
        return None

    def keep(self, bundle: str, facts: Facts, plan: bytes) -> Path:
        """Store a plan. Those for other machines stay: a home may be shared."""
        path = self.path(bundle, facts)
        about = json.loads(facts.text) | {"plan": hashlib.sha256(plan).hexdigest()}
        try:
            write(path, plan)
            write(path.with_suffix(".json"), json.dumps(about, indent=1).encode())
        except OSError as error:
            raise EngineError(f"the plan cannot be kept in {self._folder}: {error}") from error
        return path

    def path(self, bundle: str, facts: Facts) -> Path:
        return self._folder / f"{_safe(bundle)}-{facts.precision}-{facts.key}.plan"

    def timings(self, facts: Facts) -> Path:
        return self._folder / f"{_safe(f'{facts.tensorrt}-{facts.gpu}')}.timings"


def _down(nhw: tuple[int, int, int], multiple: int) -> tuple[int, int, int]:
    number, height, width = nhw
    return number, height // multiple * multiple, width // multiple * multiple


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", text)


def _read_facts(path: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def write(path: Path, content: bytes) -> None:
    """Whole or not at all: another process may be reading."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
