"""A proxy between a camera and who reads it, which can hurt the stream at any time.

For RTSP over TCP, where media packets stand between the answers: `$`, channel, length, packet. RTP
is on even channels and RTCP on odd ones. Runs in a thread of its own.
"""

import asyncio
import contextlib
import re
import socket
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self

TICKS = 90_000  # of video time stamps, a second
WRAP = 1 << 32
RTP_HEADER = 12
SENDER_REPORT = 200
WAITING = 1000  # pieces on their way, in each direction


@dataclass(frozen=True)
class Harm:
    """What is done to connections, and to packets that pass. Without arguments: nothing."""

    stall: bool = False
    """Keep all connections, also new ones, and forward nothing."""
    refuse: bool = False
    """Accept new connections, and close them."""
    hold_s: float = 0.0
    """Refused connections are held for so long before they are closed."""
    cut_s: float | None = None
    """Connections are cut so long after their first packet."""
    drop: float = 0.0
    """The share of RTP packets that get lost."""
    corrupt: float = 0.0
    """The share of RTP packets with wrong bytes."""
    delay_s: float = 0.0
    jump_s: float = 0.0
    """Added to RTP time stamps."""
    wrap_in_s: float | None = None
    """For connections made from now on: their time stamps pass 2^32 after so long."""


@dataclass
class _Line:
    """One connection of a client, and the time stamps it saw."""

    client: StreamWriter
    camera: StreamWriter
    wrap_in_s: float | None
    shifts: dict[int, int] = field(default_factory=dict)  # channel to ticks that are added


class Proxy:
    """Use as a context manager; `port` is where clients connect to."""

    def __init__(self, camera_port: int) -> None:
        self.camera_port = camera_port
        self.accepted = 0
        self.most_at_once = 0
        """Connections before their first packet."""
        self.port = 0
        self._harm, self._random = Harm(), Random(0)
        self._open: set[StreamWriter] = set()
        self._opening: set[StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._started, self._ended = threading.Event(), asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(5)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    def harm(self, harm: Harm) -> None:
        """From now on, also on connections that are open."""

        def change() -> None:
            self._harm = harm
            (self._flowing.clear if harm.stall else self._flowing.set)()

        self._loop.call_soon_threadsafe(change)

    def heal(self) -> None:
        self.harm(Harm())

    def reset(self) -> None:
        """Cut all connections with a TCP reset."""

        def cut() -> None:
            for one in list(self._open):
                _reset(one)

        self._loop.call_soon_threadsafe(cut)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._ended.wait()
        server.close()
        for one in list(self._open):
            one.transport.abort()

    async def _accept(self, reader: StreamReader, client: StreamWriter) -> None:
        self.accepted += 1
        self._open.add(client)
        self._opening.add(client)
        self.most_at_once = max(self.most_at_once, len(self._opening))
        try:
            if self._harm.refuse:
                await asyncio.sleep(self._harm.hold_s)
            else:
                await self._connect(reader, client)
        except (OSError, EOFError):
            pass  # one side is gone, so the other goes too
        finally:
            client.transport.abort()
            self._open.discard(client)
            self._opening.discard(client)

    async def _connect(self, reader: StreamReader, client: StreamWriter) -> None:
        answers, camera = await asyncio.open_connection("127.0.0.1", self.camera_port)
        line = _Line(client, camera, self._harm.wrap_in_s)
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING)
        with contextlib.closing(camera.transport):
            await _first_to_end(
                self._asked(reader, camera),
                self._heard(answers, line, late),
                self._told(late, line),
            )

    async def _asked(self, reader: StreamReader, camera: StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._flowing.wait()
            camera.write(data)
            await camera.drain()

    async def _heard(
        self, answers: StreamReader, line: _Line, late: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        while True:
            first = await answers.readexactly(1)
            piece = await (
                self._packet(answers, line) if first == b"$" else _answer(answers, first)
            )
            if piece:
                await late.put((self._loop.time() + self._harm.delay_s, piece))

    async def _told(self, late: "asyncio.Queue[tuple[float, bytes]]", line: _Line) -> None:
        while True:
            due_s, piece = await late.get()
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await self._flowing.wait()
            if piece[:1] == b"$" and line.client in self._opening:
                self._opening.discard(line.client)
                if self._harm.cut_s is not None:
                    self._loop.call_later(self._harm.cut_s, line.client.transport.abort)
            line.client.write(piece)
            await line.client.drain()

    async def _packet(self, answers: StreamReader, line: _Line) -> bytes:
        """A whole interleaved packet as it is to be sent; empty where it gets lost."""
        head = await answers.readexactly(3)
        packet = bytearray(await answers.readexactly(int.from_bytes(head[1:], "big")))
        harm, channel = self._harm, head[0]
        if channel % 2 == 0:
            if self._random.random() < harm.drop:
                return b""
            self._shift(packet, 4, line, channel)
            if self._random.random() < harm.corrupt:
                for _ in range(8):
                    at = self._random.randrange(min(RTP_HEADER + 2, len(packet) - 1), len(packet))
                    packet[at] ^= 0xFF
        elif packet[1] == SENDER_REPORT:
            self._shift(packet, 16, line, channel - 1)
        return b"$" + head + bytes(packet)

    def _shift(self, packet: bytearray, at: int, line: _Line, channel: int) -> None:
        (stamp,) = struct.unpack_from(">I", packet, at)
        if line.wrap_in_s is not None and channel not in line.shifts:
            line.shifts[channel] = WRAP - round(line.wrap_in_s * TICKS) - stamp
        shift = line.shifts.get(channel, 0) + round(self._harm.jump_s * TICKS)
        struct.pack_into(">I", packet, at, (stamp + shift) % WRAP)


async def _answer(answers: StreamReader, first: bytes) -> bytes:
    head = first + await answers.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return head + await answers.readexactly(int(length[1]) if length else 0)


async def _first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    """Run them together; when one ends or fails, end the others too. Raises what the first did."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _reset(client: StreamWriter) -> None:
    client.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    client.transport.abort()
