"""How many answers are computed at once, how many more may wait, and that everybody beyond is told so at once."""

import asyncio
from types import TracebackType
from typing import Self

from retrieval.meters import Meters
from retrieval.problems import Overloaded


class Turns:
    """A context for each computation. At most `at_once` are inside; at most `waiting` more wait to be let in, first come, first served."""

    def __init__(self, *, at_once: int, waiting: int, meters: Meters) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._most_waiting = waiting
        self._waiting = 0
        self._meters = meters

    async def __aenter__(self) -> Self:
        """Waits for a turn.

        Raises:
            Overloaded: too many wait already; nothing was waited for.
        """
        if self._free.locked() and self._waiting >= self._most_waiting:
            self._meters.shed.add()
            raise Overloaded(f"{self._waiting} computations wait already")
        self._waiting += 1
        self._meters.waiting.inc()
        try:
            with self._meters.stage("turn"):
                await self._free.acquire()
        finally:
            self._waiting -= 1
            self._meters.waiting.dec()
        self._meters.computing.inc()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._meters.computing.dec()
        self._free.release()
