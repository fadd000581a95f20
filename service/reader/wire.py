"""What a reader process and the service say to each other: small JSON messages, one a packet.

The service says Begin (with the descriptor of a slot), Rate and End; the reader says Framed,
Known, Gone and Ended. An attempt is one opening of one source; its number is never used again, so
that late words of an attempt that is over are known as such.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from models.errors import SourceError
from service.ingest import Ask, Lost, Stream

LARGEST = 65_536  # bytes of a message: the other end would get no more of it

Why = Literal["stopped", "ended", "refused", "failed", "crashed"]


@dataclass(frozen=True)
class Begin:
    attempt: int
    ask: Ask


@dataclass(frozen=True)
class Rate:
    attempt: int
    rate: float


@dataclass(frozen=True)
class End:
    attempt: int


@dataclass(frozen=True)
class Framed:
    """Frame `number` is in the slot. `missed`: frames before it that could not be told of."""

    attempt: int
    number: int
    height: int
    width: int
    captured_s: float
    captured_unix: float
    truth: float | None
    damaged: bool
    missed: int


@dataclass(frozen=True)
class Known:
    attempt: int
    stream: Stream


@dataclass(frozen=True)
class Gone:
    """Frames that were due and given up."""

    attempt: int
    why: Lost
    frames: int


@dataclass(frozen=True)
class Ended:
    """`crashed` is never said by the process itself."""

    attempt: int
    why: Why
    reason: str


Wish = Begin | Rate | End
News = Framed | Known | Gone | Ended

_KINDS = {kind.__name__: kind for kind in (Begin, Rate, End, Framed, Known, Gone, Ended)}
_INNER = {"ask": Ask, "stream": Stream}


def packed(message: Wish | News) -> bytes:
    """Raises SourceError where it is too long to be sent: addresses have no limit."""
    data = json.dumps([type(message).__name__, asdict(message)]).encode()
    if len(data) > LARGEST:
        raise SourceError(f"its address is too long: the limit is {LARGEST} bytes in all")
    return data


def unpacked(data: bytes) -> Wish | News:
    name, fields = json.loads(data)
    for key, kind in _INNER.items():
        if key in fields:
            inner = fields[key]
            fields[key] = kind(**{name: _tuple(value) for name, value in inner.items()})
    message: Wish | News = _KINDS[name](**fields)
    return message


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
