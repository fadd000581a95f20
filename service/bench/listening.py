"""What a listener gets: one websocket in a process of its own, every message with its time.

Called as `python -m service.bench.listening URL WANTED.json`. It listens until its input closes and
then prints all that it heard as JSON: a listener that ends with its parent is never an orphan.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

OPEN_S = 10.0
END_S = 30.0


@dataclass(frozen=True)
class Wanted:
    """What is subscribed to."""

    cameras: Sequence[str]
    heatmaps: bool


@dataclass
class Heard:
    """Times are Unix seconds, of the same clock as the service's: both run on one machine."""

    readings: list[tuple[str, float, float]] = field(default_factory=list)
    """Camera, received, captured."""
    troubles: list[tuple[str, float, str]] = field(default_factory=list)
    """Camera, received, and the state that is not live or a stale reading."""
    heatmaps_s: list[float] = field(default_factory=list)
    ended: str = ""
    """Why the service closed the websocket, where it did."""

    def take(self, message: str | bytes, at_s: float) -> None:
        if isinstance(message, bytes):
            self.heatmaps_s.append(at_s)
            return
        said = orjson.loads(message)
        if said["type"] == "reading":
            captured_s = datetime.fromisoformat(said["captured_at"]).timestamp()
            self.readings.append((said["camera"], at_s, captured_s))
            if said["stale"]:
                self.troubles.append((said["camera"], at_s, "stale"))
        elif said["type"] == "state" and said["state"] != "live":
            self.troubles.append((said["camera"], at_s, said["state"]))


class Listener:
    """The process, from outside."""

    def __init__(self, url: str, wanted: Wanted) -> None:
        command = (sys.executable, "-m", "service.bench.listening", url, json.dumps(asdict(wanted)))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def heard(self) -> Heard:
        """End it; what it heard."""
        try:
            said, errors = self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            return Heard(ended="the listener did not end")
        if self._process.returncode:
            return Heard(ended=errors.decode(errors="replace").strip().splitlines()[-1])
        return Heard(**orjson.loads(said))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def listeners(url: str, names: Sequence[str]) -> Iterator[list[Listener]]:
    """One gets heatmaps of every fourth camera, as a page would; one the rest without."""
    shown = names[::4]
    rest = [name for name in names if name not in set(shown)]
    open_: list[Listener] = []
    try:
        for cameras, heatmaps in ((shown, True), (rest, False)):
            if cameras:
                open_.append(Listener(url, Wanted(cameras, heatmaps)))
        yield open_
    finally:
        for one in open_:
            one.kill()


async def _listen(url: str, wanted: Wanted) -> Heard:
    """Compression is offered, as browsers do."""
    heard = Heard()
    try:
        async with connect(url, max_size=None, ping_interval=None, open_timeout=OPEN_S) as socket:
            await socket.send(_subscription(wanted))
            parent = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
            listening = asyncio.create_task(_take(socket, heard))
            await asyncio.wait({parent, listening}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                heard.ended = f"the service closed the websocket ({socket.close_code})"
            listening.cancel()
            await parent
    except (OSError, WebSocketException) as error:
        heard.ended = f"no websocket: {type(error).__name__}"
    return heard


async def _take(socket: ClientConnection, heard: Heard) -> None:
    with contextlib.suppress(WebSocketException):
        async for message in socket:
            heard.take(message, time.time())


def _subscription(wanted: Wanted) -> str:
    return json.dumps({"type": "subscribe", "rate": 60, **asdict(wanted)})


def main() -> None:
    url, wanted = sys.argv[1:]
    heard = asyncio.run(_listen(url, Wanted(**json.loads(wanted))))
    sys.stdout.buffer.write(orjson.dumps(asdict(heard)))


if __name__ == "__main__":
    main()
