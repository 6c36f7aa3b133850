"""Whether each store answers, and what that means for answers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from retrieval.flights import Flights
from retrieval.generation import Generations
from retrieval.problems import NoRelease
from retrieval.schemas import Health, StoreHealth
from stores.errors import StoreError

NEEDED = "neo4j"
"""The one store that no new answer can do without; the table in retrieval.recommend says why."""


class Probes:
    """Asks every store whether it is there. `pings` by store name; each raises StoreError, or takes longer than `timeout_s`."""

    def __init__(self, pings: Mapping[str, Callable[[], Awaitable[None]]], *, generations: Generations, timeout_s: float) -> None:
        self._pings = pings
        self._generations = generations
        self._timeout_s = timeout_s
        self._flights: Flights[Health] = Flights()

    async def health(self) -> Health:
        """All stores' state and the release, all asked at the same time, and once for everybody who asks meanwhile."""
        return await self._flights.join("health", self._ask)

    async def close(self) -> None:
        await self._flights.close()

    async def _ask(self) -> Health:
        probes = asyncio.gather(*(self._probe(name, ping) for name, ping in self._pings.items()))
        release, stores = await asyncio.gather(self._release(), probes)
        down = {each.store for each in stores if not each.reachable}
        if release is None or NEEDED in down:
            return Health(status="unavailable", release=release, stores=stores)
        return Health(status="degraded" if down else "ready", release=release, stores=stores)

    async def _probe(self, name: str, ping: Callable[[], Awaitable[None]]) -> StoreHealth:
        try:
            async with asyncio.timeout(self._timeout_s):
                await ping()
        except TimeoutError:
            return StoreHealth(store=name, reachable=False, detail=f"no answer within {self._timeout_s} s")
        except StoreError as exc:
            return StoreHealth(store=name, reachable=False, detail=type(exc).__name__)
        return StoreHealth(store=name, reachable=True)

    async def _release(self) -> int | None:
        """The release that answers are made from, or None where there is none to be had."""
        try:
            return (await self._generations.current(None)).release.number
        except (NoRelease, StoreError):
            return None
