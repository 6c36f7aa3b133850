"""What customers do with their recommendations: kept at once, honoured by the next answer, taken by the next refresh.

An event is kept in MongoDB first. Then Redis is told, by a new epoch for its customer, that nothing that was cached for
them counts any more; an answer that is computed reads what was posted of the customer beside everything else.

Where Redis cannot be told, it may come back with answers of before. So whoever has seen it fail believes nothing that it
holds until it was told of everybody of whom something waits; so does a process that has just begun. That is done again and
again by itself, until it is done. Where MongoDB cannot say who that is, Redis is believed only if it was slow and nothing
more: it runs on as it did, and is told of the events that this process could not tell it of.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import get_args

import msgspec

from retrieval.flights import Flights
from retrieval.schemas import EventReceipt, EventsReceipt, PostedEvent
from stores.cache import CacheReader
from stores.coalescing import Coalesced
from stores.errors import StoreError
from stores.json_lines import decoded
from stores.posted import Postings
from stores.records import Record, Rejected

AGAIN_S = 0.1
UNTOLD_USERS = 10_000
"""Of so many customers a process remembers that Redis was not told of them."""
EVENTS: tuple[str, ...] = get_args(PostedEvent)

log = logging.getLogger("retrieval")


class Feedback:
    """Takes events, and tells what was posted of a customer that no release reflects yet."""

    def __init__(self, *, postings: Postings, cache: CacheReader, max_record_bytes: int) -> None:
        self._postings = postings
        self._cache = cache
        self._max_record_bytes = max_record_bytes
        self._failed, self._passed = 1, 0  # how often Redis failed, and up to which of these times it is believed again
        self._run: str | None = None  # which run of Redis was told of everybody but the following; None where it lost that
        self._untold: set[str] = set()
        self._flights: Flights[bool] = Flights()
        self._reads: Coalesced[str, list[str]] = Coalesced(self._events_of)
        self._telling: asyncio.Task[None] | None = None

    async def take(self, events: Sequence[bytes]) -> tuple[EventsReceipt, bool]:
        """Keeps the events that can be read, durably; what became of each, in order, and whether Redis was told.

        Raises:
            StoreError: MongoDB did not confirm it: the same events may be posted again.
        """
        read = [self._read(line, event) for line, event in enumerate(events, start=1)]
        kept = [(entry.user_id, event.decode()) for entry, event in zip(read, events, strict=True) if isinstance(entry, Record)]
        told = True
        if kept:
            users = [user_id for user_id, _ in kept]
            await self._postings.put(users, [event for _, event in kept])
            told = await self._tell(users)
        receipts = [receipt(entry) for entry in read]
        return EventsReceipt(accepted=len(kept), rejected=len(events) - len(kept), events=receipts), told

    async def of(self, user_id: str) -> list[Record]:
        """What was posted of a customer that no release reflects yet, the oldest first. Asked at the same time, asked as one.

        Raises:
            StoreError: MongoDB does not answer, and nobody knows.
        """
        return [entry for event in await self._reads.read(user_id) if isinstance(entry := decoded(1, event.encode()), Record)]

    async def _events_of(self, user_ids: Sequence[str]) -> list[list[str]]:
        found = await self._postings.of(user_ids)
        return [found[user_id] for user_id in user_ids]

    def failed(self, *, lost: bool) -> None:
        """Says that Redis did not answer; `lost`: that it does not hold any more, or never did, what it was told."""
        self._failed += 1
        if lost:
            self._run = None

    async def redis_knows(self) -> bool:
        """Whether what Redis is asked from now on counts: it was told of everybody of whom something waits, now at the latest."""
        return self._failed == self._passed or await self._flights.join("tell", self._catch_up)

    async def _catch_up(self) -> bool:
        failed, (untold, self._untold) = self._failed, (self._untold, set())
        try:
            run = await self._cache.run()  # while Redis is silent, MongoDB is not asked time and again
            await self._cache.bump(untold | await self._of_whom_something_waits(run))
        except StoreError as exc:
            log.info("Redis was not told of what was posted: %s", exc)
            self._untold |= untold
            return False
        if self._failed == failed:
            self._run = run
        self._passed = failed
        return True

    async def _of_whom_something_waits(self, run: str) -> set[str]:
        """Whom Redis must be told of besides `_untold`: nobody where MongoDB does not say, and this run of Redis was only slow.

        Raises:
            StoreError: MongoDB does not say, and Redis may have lost what it was told.
        """
        try:
            return await self._postings.users()
        except StoreError as exc:
            if run != self._run:
                raise
            log.info("Redis was slow, but lost nothing, and is believed: %s", exc)
            return set()

    async def _tell(self, user_ids: Sequence[str]) -> bool:
        try:
            await self._cache.bump(set(user_ids))
        except StoreError as exc:
            log.warning("%s: it is told of what was posted as soon as it answers", exc)
            self._remember(user_ids)
            if self._telling is None or self._telling.done():
                self._telling = asyncio.create_task(self._until_told())
            return False
        return True

    def _remember(self, user_ids: Sequence[str]) -> None:
        """Remembers of whom Redis was not told, unless these become too many: then only MongoDB knows."""
        self._untold.update(user_ids)
        many = len(self._untold) > UNTOLD_USERS
        if many:
            self._untold.clear()
        self.failed(lost=many)

    async def _until_told(self) -> None:
        while not await self.redis_knows():
            await asyncio.sleep(AGAIN_S)

    def _read(self, line: int, event: bytes) -> Record | Rejected:
        """The record that the intake of files would make of the text, or why it is not taken."""
        if len(event) > self._max_record_bytes:
            return Rejected(line=line, reason=f"the event has {len(event):,} bytes: expected at most {self._max_record_bytes:,}", raw="")
        entry = decoded(line, event)
        if isinstance(entry, Rejected):
            return entry
        if not isinstance(entry, Record):
            return Rejected(line=line, reason="expected an event of a customer, with user_id and timestamp", raw="")
        if entry.event not in EVENTS:
            return Rejected(line=line, reason=f"event is {entry.event!r}: expected one of {', '.join(EVENTS)}", raw="")
        if entry.event != "message" and entry.campaign_id is None:
            return Rejected(line=line, reason=f"campaign_id is missing: of a {entry.event} it must be known to what", raw="")
        return entry

    async def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        await self._reads.close()
        await self._flights.close()


def receipt(entry: Record | Rejected) -> EventReceipt:
    if isinstance(entry, Rejected):
        return EventReceipt(status="rejected", reason=entry.reason)
    return EventReceipt(status="accepted", message_id=entry.message_id)


def split(body: bytes) -> list[bytes]:
    """The text of each event: of an array, of the array under `events`, or of the one that the body is.

    Raises:
        msgspec.DecodeError: the body is not JSON, or neither an object nor an array.
    """
    if not body.lstrip().startswith(b"{"):
        return [bytes(event) for event in msgspec.json.decode(body, type=list[msgspec.Raw])]
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    if "events" not in fields:
        return [body.strip()]
    return [bytes(event) for event in msgspec.json.decode(fields["events"], type=list[msgspec.Raw])]
