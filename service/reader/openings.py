"""Places for cameras that are being opened: those behind one switch come back together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count

PLACES = 8


class Openings:
    """So many at once. Who has failed for less time goes first: a camera that never answers holds
    its place for as long as it may be silent, and hundreds of them would keep all others waiting.
    """

    def __init__(self, places: int = PLACES) -> None:
        self._free = places
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    @asynccontextmanager
    async def place(self, failing: float = 0.0) -> AsyncIterator[None]:
        """`failing`: grows with the time for which it could not be opened."""
        if self._free:
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            heappush(self._waiting, (failing, next(self._numbers), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():  # its turn came at the same moment
                    self._pass_on()
                raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            *_, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
