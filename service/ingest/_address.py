"""The name in a camera's address, asked for before the library is: it cannot say what was wrong."""

import os
import socket
import threading
import time
from concurrent.futures import Future, wait
from urllib.parse import urlsplit

from models.errors import SourceError
from service.ingest import Watch

LOOKUP_S = 15.0  # a name server that is down costs 5 s for each suffix that is tried
NAP_S = 1.0  # between signs of life


def resolve(address: str, watch: Watch) -> None:
    """Raises SourceError where the address has a host name that nobody knows, or none in time."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return  # opening it says so
    if not host or (parts.scheme in ("http", "https") and os.environ.get("http_proxy")):
        return  # a proxy knows more names
    known, until_s = _known(host), time.monotonic() + LOOKUP_S
    while not known.done():
        if watch.wait(0) or time.monotonic() > until_s:
            raise SourceError(f"no name server told of the camera within {LOOKUP_S:g} s")
        wait([known], NAP_S)
    if not known.result():
        raise SourceError("the name of the camera cannot be resolved")


def _known(host: str) -> Future[bool]:
    """Whether somebody knows the name, once that is certain: nothing can hurry or end a lookup."""
    known: Future[bool] = Future()

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError):
            known.set_result(False)
        else:
            known.set_result(True)

    threading.Thread(target=look_up, daemon=True).start()
    return known
