"""The name in a camera's address, asked for before the library is: it cannot say what was wrong."""

import os
import socket
from urllib.parse import urlsplit

from models.errors import SourceError


def resolve(address: str) -> None:
    """Raises SourceError where the address has a host name that nobody knows."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return  # opening it says so
    if not host or (parts.scheme in ("http", "https") and os.environ.get("http_proxy")):
        return  # a proxy knows more names
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        raise SourceError("the name of the camera cannot be resolved") from None
