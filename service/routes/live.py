"""`WS /v1/live`: readings, states and heatmaps as they come; the newest only."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service import VERSION
from service.hub import Listener, Seen, described
from service.ingest import now
from service.parts import Parts, parts_of
from service.readings import SCHEMA, timestamp
from service.settings import first_problem

router = APIRouter()

SEND_S = 5.0  # a client that takes longer to take one message is cut off
TRY_AGAIN_LATER, GOING_AWAY, POLICY = 1013, 1001, 1008


class Subscribe(BaseModel):
    """What a client wants: `cameras` null means all; `rate` is a bound, a second and camera."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["subscribe"] = "subscribe"
    cameras: frozenset[str] | None = None
    rate: float = Field(30.0, gt=0, le=60)
    heatmaps: bool = False

    def covers(self, camera: str) -> bool:
        return self.cameras is None or camera in self.cameras

    def shows(self, seen: Seen) -> bool:
        return self.heatmaps and self.covers(seen.reading.camera)


@dataclass(frozen=True)
class _Picture:
    """Of a reading that was told before pictures were asked for."""

    seen: Seen


@dataclass
class _Client:
    """One websocket: what it wants, and when it was last told of each camera."""

    socket: WebSocket
    parts: Parts
    wants: Subscribe
    told_s: dict[str, float] = field(default_factory=dict)

    async def send(self, letter: Seen | _Picture | dict[str, Any]) -> None:
        """Raises TimeoutError where the client does not take it."""
        if isinstance(letter, _Picture):
            await self._picture(letter.seen)
            return
        camera = letter.reading.camera if isinstance(letter, Seen) else letter["camera"]
        if not self.wants.covers(camera):
            return
        if not isinstance(letter, Seen):
            await self.text(letter)
        elif self._due(camera):
            await self.text(letter.reading.message())
            await self._picture(letter)

    async def text(self, message: dict[str, Any]) -> None:
        async with asyncio.timeout(SEND_S):
            await self.socket.send_text(orjson.dumps(message).decode())

    async def _picture(self, seen: Seen) -> None:
        if not self.wants.shows(seen):
            return
        data = await _heatmap_frame(self.parts, seen)
        if not self.wants.shows(seen):  # a subscription changed it while it was drawn
            return
        async with asyncio.timeout(SEND_S):
            await self.socket.send_bytes(data)

    def _due(self, camera: str) -> bool:
        """At most `rate` a second, with a tenth of slack for cameras that run at just that rate."""
        now_s = time.monotonic()
        if now_s - self.told_s.get(camera, 0.0) < 0.9 / self.wants.rate:
            return False
        self.told_s[camera] = now_s
        return True


@router.websocket("/v1/live")
async def live(socket: WebSocket) -> None:
    """Greets, sends each camera's last reading, then what happens."""
    if not _same_origin(socket):
        await socket.close(POLICY, "another origin")
        return
    parts = parts_of(socket)
    await socket.accept()
    client = _Client(socket, parts, Subscribe())
    listener = parts.hub.join()
    listening = asyncio.create_task(_listen(client, listener))
    telling = asyncio.create_task(_tell(client, listener))
    ending = asyncio.create_task(parts.ending.wait())
    tasks = {listening, telling, ending}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await _close(socket, GOING_AWAY, "the service ends")
    except TimeoutError:
        await _close(socket, TRY_AGAIN_LATER, "too slow")
    except asyncio.CancelledError:
        await _close(socket, GOING_AWAY, "the service ends")
        raise
    except (WebSocketDisconnect, RuntimeError):
        pass  # it went away while we were sending
    finally:
        parts.hub.leave(listener)
        for task in tasks:
            task.cancel()


async def _tell(client: _Client, listener: Listener) -> None:
    await client.text(_hello(client.parts))
    for seen in list(client.parts.hub.seen.values()):
        await client.text(seen.reading.message())
    while True:
        await client.send(await listener.get())


async def _listen(client: _Client, listener: Listener) -> None:
    """Take subscriptions until the client leaves; what cannot be understood is answered."""
    while True:
        message = await client.socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        try:
            text = message.get("text") or message.get("bytes") or ""
            wants = client.wants = Subscribe.model_validate_json(text)
            for camera, seen in client.parts.hub.seen.items():
                if wants.heatmaps and wants.covers(camera):
                    listener.put(camera, "picture", _Picture(seen))
        except ValidationError as error:
            says = first_problem(error)
            await client.text({"type": "problem", "code": "subscribe_invalid", "detail": says})


def _hello(parts: Parts) -> dict[str, Any]:
    cameras = []
    for name in parts.cameras.names():
        settings = parts.cameras.settings(name)
        state, reason = parts.hub.states[name]
        cameras.append(
            {
                "id": name,
                "state": state,
                "reason": reason,
                "rate": settings.rate,
                "zones": list(settings.zones),
                "stream": described(stream) if (stream := parts.hub.streams.get(name)) else None,
                "stale_after_ms": round(settings.stale_after_s * 1e3),
            }
        )
    return {
        "type": "hello",
        "schema": SCHEMA,
        "version": VERSION,
        "model": parts.bundle.name,
        "now": timestamp(now()),
        "stale_after_ms": round(parts.defaults.stale_after_s * 1e3),
        "cameras": cameras,
    }


async def _heatmap_frame(parts: Parts, seen: Seen) -> bytes:
    """Four bytes of length, a JSON header, the JPEG."""
    stride = parts.bundle.manifest.input.stride
    picture = await seen.drawn("jpeg", stride=stride)
    header = orjson.dumps(
        {
            "type": "heatmap",
            "camera": seen.reading.camera,
            "seq": seen.reading.seq,
            "age_ms": round(seen.reading.age_s * 1e3, 1),
            "mime": "image/jpeg",
        }
    )
    return len(header).to_bytes(4, "big") + header + picture


def _same_origin(socket: WebSocket) -> bool:
    """Browsers say where a page came from; only our own page may listen. Programs say nothing."""
    origin = socket.headers.get("origin")
    return origin is None or origin.partition("://")[2] == socket.headers.get("host")


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(RuntimeError, TimeoutError):
        async with asyncio.timeout(1):
            await socket.close(code, reason)
