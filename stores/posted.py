"""Events that were posted over HTTP, in MongoDB's `intake`: each waits there until a release reflects it.

One document is what one POST brought: a single write, so that it is kept whole or not at all. `_id` begins with the time at
which it came, so the ids are the order. A posting is never changed by whoever posts: the same events again are another one,
and `raw_docs` finds them unchanged by their message_id.
"""

import hashlib
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pymongo
from msgspec import Struct
from pymongo import WriteConcern
from pymongo.asynchronous.database import AsyncDatabase

from stores.breaker import Breaker
from stores.errors import translated
from stores.mongodb import MONGODB_ERRORS, Database, Document, columns, read

NAME = "intake"
READ_AT_ONCE = 50
DURABLE = WriteConcern(w="majority", j=True)


class Posting(Struct, frozen=True, kw_only=True):
    """What one POST brought: `events` are JSON texts, and `users` the customer of each. `sequence` is the number under which
    `raw_docs` has recorded them, 0 before."""

    id: str
    users: tuple[str, ...]
    events: tuple[str, ...]
    sequence: int = 0


class Intake:
    """The postings of one database, for the assets and the command."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self, *, before_ns: int | None = None) -> list[str]:
        """The ids of those that are not recorded yet, the oldest first; of those that came before a time where one is given."""
        last = key_at(before_ns) if before_ns else "i:~"
        found = (str(document["_id"]) for document in self._database.find(NAME, {"sequence": 0}, only=("_id",)))
        return sorted(key for key in found if key < last)

    def get(self, keys: Sequence[str]) -> Iterator[Posting]:
        """The postings with these ids, in the order of the ids, a few at a time."""
        for start in range(0, len(keys), READ_AT_ONCE):
            some = self._database.find_in(NAME, "_id", keys[start : start + READ_AT_ONCE])
            yield from sorted((posting_of(document) for document in some), key=lambda each: each.id)

    def recorded(self, keys: Iterable[str], sequence: int) -> None:
        """Says that these are recorded: they stay for the answers, until a release reflects them."""
        self._database.upsert(NAME, ((key, {"sequence": sequence}) for key in keys))

    def settle(self, sequence: int) -> int:
        """Removes what was recorded up to this sequence number; how many postings those were."""
        found = self._database.find(NAME, only=("sequence",))
        done = [str(document["_id"]) for document in found if 0 < int(str(document["sequence"])) <= sequence]
        self._database.delete(NAME, done)
        return len(done)

    def of(self, user_id: str) -> list[str]:
        """The texts of one customer's events, the oldest first."""
        found = (posting_of(document) for document in self._database.find_in(NAME, "users", [user_id]))
        return [event for each in sorted(found, key=lambda each: each.id) for event in theirs(each, user_id)]

    def drop(self, user_id: str) -> None:
        """Removes one customer's events; those of others that came with them stay."""
        for document in list(self._database.find_in(NAME, "users", [user_id])):
            posting = posting_of(document)
            kept = [(user, event) for user, event in zip(posting.users, posting.events, strict=True) if user != user_id]
            rest: Document = {"users": [user for user, _ in kept], "events": [event for _, event in kept]}
            if kept:
                self._database.upsert(NAME, [(posting.id, rest)])
            else:
                self._database.delete(NAME, [posting.id])


class Postings:
    """What the API does with the intake, asynchronous. While MongoDB does not answer its readers are told at once."""

    def __init__(self, database: AsyncDatabase[Document], breaker: Breaker, *, write_timeout_s: float) -> None:
        self._rows = database.get_collection(NAME)
        self._durable = database.get_collection(NAME, write_concern=DURABLE)
        self._write_timeout_s = write_timeout_s
        self._breaker = breaker

    async def put(self, users: Sequence[str], events: Sequence[str]) -> None:
        """Keeps events, each with its customer. When this returns they are durable: acknowledged by the majority, in its journal."""
        posting = Posting(id=f"{key_at(time.time_ns())}-{secrets.token_hex(8)}", users=tuple(users), events=tuple(events))
        row = columns(posting)
        with self._breaker, translated("mongodb", MONGODB_ERRORS), pymongo.timeout(self._write_timeout_s):
            await self._durable.insert_one({"_id": row.pop("id"), **row})

    async def of(self, user_ids: Sequence[str]) -> dict[str, list[str]]:
        """The texts of these customers' events, recorded or not, the oldest first; one question, however many they are."""
        found: dict[str, list[str]] = {user_id: [] for user_id in user_ids}
        with self._breaker, translated("mongodb", MONGODB_ERRORS):
            # $in also for one of them: the small local engine finds nothing in an indexed list by equality
            postings = [posting_of(document) async for document in self._rows.find({"users": {"$in": list(found)}})]
        for posting in sorted(postings, key=lambda each: each.id):
            for user_id in found.keys() & set(posting.users):
                found[user_id] += theirs(posting, user_id)
        return found

    async def users(self) -> set[str]:
        """Everybody of whom something was posted that no release reflects yet."""
        with self._breaker, translated("mongodb", MONGODB_ERRORS):
            return {str(user_id) for user_id in await self._rows.distinct("users")}


def theirs(posting: Posting, user_id: str) -> list[str]:
    return [event for user, event in zip(posting.users, posting.events, strict=True) if user == user_id]


def key_at(time_ns: int) -> str:
    """The beginning of the ids of postings that came at this time."""
    return f"i:{time_ns:020d}"


def came_at_ns(key: str) -> int:
    """When the posting with this id came."""
    return int(key[2:22])


def posting_of(document: Mapping[str, object]) -> Posting:
    return read({**document, "id": document["_id"]}, Posting)


def digest_of(keys: Iterable[str]) -> str:
    """64 hex digits that stand for these postings, as a file's digest stands for its content."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()
