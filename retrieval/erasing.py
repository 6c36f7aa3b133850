"""Who is being forgotten, as MongoDB knows it: for when Redis, which is told first, knows nothing of a customer."""

import logging
import time

from retrieval.flights import Flights
from stores.documents import DocumentsReader
from stores.errors import StoreError

RECHECK_S = 1.0

log = logging.getLogger("retrieval")


class Erasing:
    """The customers who asked to be forgotten and still are in the stores. Asked of MongoDB at most once every `RECHECK_S`."""

    def __init__(self, documents: DocumentsReader) -> None:
        self._documents = documents
        self._flights: Flights[frozenset[str]] = Flights()
        self._users: frozenset[str] = frozenset()
        self._asked_s = float("-inf")

    async def includes(self, user_id: str) -> bool:
        """Whether a customer is being forgotten, as far as is known: where MongoDB does not answer, what it said last counts."""
        if time.monotonic() > self._asked_s + RECHECK_S:
            self._users = await self._flights.join("ask", self._ask)
        return user_id in self._users

    async def _ask(self) -> frozenset[str]:
        try:
            return await self._documents.being_erased()
        except StoreError as exc:
            log.info("who is being forgotten is not known: %s", exc)
            return self._users
        finally:
            self._asked_s = time.monotonic()

    async def close(self) -> None:
        await self._flights.close()
