"""Connections that say nothing, to the real server."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from websockets.sync.client import connect

from service import connections
from service.connections import Impatient
from tests.running import wait_until

app = FastAPI()


@app.get("/")
async def root() -> str:
    return "here"


@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(0.5)
    return "late"


@app.websocket("/live")
async def live(websocket: WebSocket) -> None:
    await websocket.accept()
    await asyncio.sleep(0.5)
    await websocket.send_text("late")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "SILENT_S", 0.2)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=Impatient, log_level="error"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    wait_until(lambda: server.started, seconds=10, what="the server")
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("words", [b"", b"GET / HT"])
def test_a_connection_that_asks_for_nothing_is_closed(port: int, words: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as silent:
        silent.sendall(words)
        assert silent.recv(100) == b""


def test_who_has_asked_may_take_longer(port: int) -> None:
    assert httpx.get(f"http://127.0.0.1:{port}/slow").json() == "late"
    with connect(f"ws://127.0.0.1:{port}/live") as websocket:
        assert websocket.recv(timeout=5) == "late"
