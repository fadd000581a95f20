"""`throng serve`."""

import contextlib
import ctypes
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
import uvicorn
from fastapi import FastAPI

from deploy.bundle import Bundle, open_bundle
from deploy.engines import Engine, load_engine
from models.errors import ConfigError
from service import VERSION
from service.app import create_app, farewell
from service.connections import Impatient
from service.settings import Settings, load_settings

FILES = 65_536
LAST_S = 14.0  # from the signal to the end, whatever hangs
M_ARENA_MAX, ARENAS = -8, 2  # of malloc.h: a heap for each thread keeps 7 MB that nobody uses
M_TRIM_THRESHOLD, KEPT = -1, 8 << 20  # of the heap's free top: what starting took goes back
M_MMAP_THRESHOLD, MAPPED = -3, 4 << 20  # said with it, or small pictures would be mapped anew

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The YAML file of settings. Without one: the demo scene."),
]


class _Server(uvicorn.Server):
    """Lets websockets go in peace before it ends."""

    def __init__(self, listen: uvicorn.Config, application: FastAPI) -> None:
        super().__init__(listen)
        self._application = application

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Nothing may keep the process beyond its time: not a hung engine, nor a hung disk."""
        last = threading.Timer(LAST_S, os._exit, [0])
        last.daemon = True
        last.start()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await farewell(self._application)
        await super().shutdown(sockets)


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Overrides server.host.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Overrides server.port; 0 takes a free one."),
    ] = None,
    data: Annotated[
        Path, typer.Option(help="Where the history is kept; of one service only.")
    ] = Path("throng-data"),
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option(help="What is told on stderr: info has a line for each change of a camera."),
    ] = "info",
) -> None:
    """Run the service: live page, REST, websocket and metrics on one port.

    Without --config it runs a built-in demo scene as camera `demo`, so that there is something to
    look at before the first camera is connected.
    """
    _log(log_level)
    _show_thread_names()
    _share_heaps()
    _open_many()
    settings = load_settings(config)
    server = settings.server
    with bound(host or server.host, server.port if port is None else port) as listening:
        bundle = open_bundle(settings.model.bundle)
        engine = load_engine(bundle, name=settings.model.engine, precision=settings.model.precision)
        application = create_app(settings, bundle=bundle, engine=engine, data=data, file=config)
        print(_hello(url_of(listening), settings, bundle, engine), flush=True)  # noqa: T201
        for wish in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again once it has ended
            signal.signal(wish, lambda *_: sys.exit(0))
        _Server(_listen(application), application).run([listening])


def bound(host: str, port: int) -> socket.socket:
    """Who comes while the rest is loaded waits. Raises ConfigError where the port is not ours."""
    six = ":" in host
    family = socket.AF_INET6 if six else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=six)
    except (OSError, TypeError, ValueError) as error:  # the last two: a name that cannot be one
        why = str(getattr(error, "strerror", None) or error).partition(" (")[0]
        says = f"cannot listen on host {host}, port {port}: {why}; choose --host and --port"
        raise ConfigError(says) from error


def url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(application: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=Impatient,
        log_config=None,
        access_log=False,
        ws_max_size=65_536,
        ws_per_message_deflate=False,  # JPEGs do not shrink, and the rest is small
        limit_concurrency=1000,
        timeout_graceful_shutdown=5,
        server_header=False,
    )


def _log(level: str) -> None:
    """On stderr, with the time in UTC, as all times of the service are."""
    line = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    line.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(line)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for library in ("uvicorn", "asyncio"):  # a line a request says nothing
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.root.level))
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings are the client's


def _open_many() -> None:
    """Each camera and listener takes some descriptors, and systems start us with few."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, min(most, FILES)), most))


def _show_thread_names() -> None:
    """Threads carry their names in /proc too, for `top -H` and `throng bench`."""

    def tell(*_: object) -> None:
        sys.setprofile(None)
        with contextlib.suppress(OSError):
            at = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
            at.write_text(threading.current_thread().name[:15], encoding="utf-8")

    threading.setprofile(tell)


def _share_heaps() -> None:
    with contextlib.suppress(AttributeError):  # glibc alone has it
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, ARENAS)
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)


def _hello(url: str, settings: Settings, bundle: Bundle, engine: Engine) -> str:
    """What runs, what to open, what to type."""
    names = ", ".join(settings.cameras) or "none yet"
    runs = f"{bundle.name} on {engine.name} ({engine.precision})"
    return "\n".join(
        (
            f"Throng {VERSION}: {runs}, cameras: {names}",
            f"  live page   {url}/",
            f"  a picture   curl --data-binary @picture.jpg {url}/v1/count",
            f"  metrics     {url}/metrics",
            f"  the API     {url}/docs",
            "  stop with Ctrl-C",
        )
    )
