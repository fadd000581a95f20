"""HTTP connections that ask for something: one that says nothing is not kept for ever.

The server bounds how many there are, so that idle ones would lock everybody else out.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SILENT_S = 10.0


class Impatient(H11Protocol):
    """Closes where no request has begun within `SILENT_S`; afterwards uvicorn's own time holds."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(SILENT_S, self._close_if_silent, transport)

    def _close_if_silent(self, transport: asyncio.Transport) -> None:
        if self.cycle is None and transport.get_protocol() is self:  # else it is a websocket now
            transport.close()
