"""A reading: what one frame of one camera gave, and the messages that tell of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from service.guards import Fault

SCHEMA = 1

State = Literal[
    "connecting", "live", "stalled", "frozen", "dark", "down", "auth_failed", "quarantined"
]

Invalid = Literal[Fault, "damaged"]
"""What is wrong with a picture: how it looks, or that it did not come whole."""


@dataclass(frozen=True)
class Reading:
    camera: str
    seq: int
    captured_at: datetime
    captured_s: float  # monotonic
    count: float
    interval: tuple[float, float]
    zones: Mapping[str, float]
    fps: float
    state: State = "live"
    stale_after_s: float = 5.0
    truth: float | None = None
    invalid: Invalid | None = None  # what is wrong with its picture: the count is not to be used

    @property
    def valid(self) -> bool:
        return self.invalid is None

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.captured_s

    @property
    def old(self) -> bool:
        return self.age_s > self.stale_after_s

    def message(self) -> dict[str, Any]:
        """As JSON, with its age now: a reading that was kept for long says so itself."""
        age_s = self.age_s
        message = {
            "type": "reading",
            "schema": SCHEMA,
            "camera": self.camera,
            "seq": self.seq,
            "captured_at": timestamp(self.captured_at),
            "age_ms": round(age_s * 1e3, 1),
            **counts(self.count, self.interval, self.zones),
            "state": self.state,
            "stale": age_s > self.stale_after_s or self.state != "live",
            "fps": round(self.fps, 2),
            "valid": self.valid,
        }
        known = {"invalid": self.invalid, "truth": self.truth}
        return message | {name: value for name, value in known.items() if value is not None}

    def in_state(self, state: State) -> "Reading":
        return replace(self, state=state)


def counts(
    people: float, interval: tuple[float, float], zones: Mapping[str, float]
) -> dict[str, Any]:
    """As JSON, of now or of the history: to two digits, which is more than anybody knows."""
    return {
        "count": round(people, 2),
        "interval": [round(end, 2) for end in interval],
        "zones": {name: round(inside, 2) for name, inside in zones.items()},
    }


def timestamp(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and a Z."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
