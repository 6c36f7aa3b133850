"""The documents that everything else is rebuilt from, in MongoDB: records, campaigns, embeddings, input files, releases.

Each has a string `_id` that says its kind and comes from its content ("m:" record, "c:" campaign, "e:" embedding,
"f:" file, "i:" posted events, "q:" quarantined, "r:" release, "w:" ranking model, "x:" erasure) and is written as a fixed list of columns:
writing it twice changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from pymongo import AsyncMongoClient

from stores.breaker import Breaker
from stores.erasures import Erasures
from stores.errors import ContractBroken, NotFound, translated
from stores.models import Models, body_of, model_id
from stores.mongodb import MONGODB_ERRORS, Database, Document, columns, opened, read
from stores.posted import Intake, Postings
from stores.quarantine import Quarantine, Quarantined
from stores.records import Campaign, FileReport, Record, Rejected, Release
from stores.settings import Settings

SCHEMA_VERSION = 1
COLLECTIONS = ("raw_docs", "campaigns", "embeddings", "files", "intake", "quarantine", "releases")
ENTRIES: Mapping[str, type[Record] | type[Campaign]] = {"raw_docs": Record, "campaigns": Campaign}
HELD_COLUMNS = ("content_hash", "sequence", "line", "user_id")
Keyed = TypeVar("Keyed")


class Stored(Struct, frozen=True):
    """An entry with its content hash, and the file (by sequence number) and line that it came from."""

    entry: Record | Campaign
    content_hash: str
    sequence: int
    line: int


class Held(Struct, frozen=True):
    """What is stored under a key now. `owner` is the record's user_id; a campaign has none: ""."""

    content_hash: str
    sequence: int
    line: int
    owner: str


class Documents:
    """Reads and writes, synchronous, for the assets and the command. Nothing connects before the first call."""

    def __init__(self, settings: Settings) -> None:
        self._database = Database(settings)
        self.quarantine = Quarantine(self._database)
        self.erasures = Erasures(self._database)
        self.models = Models(self._database)
        self.intake = Intake(self._database)

    def close(self) -> None:
        self._database.close()

    def ping(self) -> None:
        self._database.ping()

    def prepare(self) -> None:
        """Makes what is missing: indexes and the schema version. Changes nothing where they are there.

        Raises:
            ContractBroken: the database was written by another version of the schema.
        """
        state = self._database.one("platform_state", "schema")
        if state is None:
            self._database.upsert("platform_state", [("schema", {"version": SCHEMA_VERSION})])
        elif state["version"] != SCHEMA_VERSION:
            raise ContractBroken("mongodb", f"the database has schema version {state['version']}, this code needs {SCHEMA_VERSION}")
        self._database.index("raw_docs", "user_id")
        self._database.index("files", "sha256")
        self._database.index("quarantine", "sequence", "line")
        self._database.index("quarantine", "replayed_in")
        self._database.index("erasures", "done_at_ms")
        self._database.index("intake", "users")
        self._database.index("intake", "sequence")

    def counts(self, *names: str) -> dict[str, int]:
        """How many documents these collections hold, or each where none is named; counted, not estimated."""
        return {name: self._database.count(name) for name in names or COLLECTIONS}

    def has_embeddings(self) -> bool:
        """Whether there is any vector."""
        return self._database.holds("embeddings")

    def stamp(self, name: str) -> str | None:
        """The text that `set_stamp` left under this name; None where the database has lost it."""
        state = self._database.one("platform_state", f"stamp:{name}")
        return None if state is None else str(state["value"])

    def set_stamp(self, name: str, value: str) -> None:
        self._database.upsert("platform_state", [(f"stamp:{name}", {"value": value})])

    # Records and campaigns

    def put(self, entries: Sequence[Stored]) -> None:
        """Writes each entry over whatever its key holds; of two with the same key the later one counts."""
        for collection, rows in by_collection((stored.entry.key, stored) for stored in entries).items():
            self._database.upsert(collection, ((key, entry_columns(stored)) for key, stored in rows.items()))

    def delete(self, keys: Iterable[str]) -> None:
        """Removes these records and campaigns; one that is not there is no error."""
        for collection, rows in by_collection((key, key) for key in keys).items():
            self._database.delete(collection, rows)

    def held(self, keys: Iterable[str]) -> dict[str, Held]:
        """What is stored now, for those of the keys that are."""
        return {str(document["_id"]): held_of(document) for _, document in self._entries(keys, only=HELD_COLUMNS)}

    def get(self, keys: Iterable[str]) -> dict[str, Record | Campaign]:
        """The entries, by key, for those of the keys that are stored."""
        return {str(document["_id"]): read(document, ENTRIES[collection]) for collection, document in self._entries(keys)}

    def records_of(self, user_ids: Iterable[str]) -> dict[str, list[Record]]:
        """All records of each of these customers, by time, then message_id; a customer without any has an empty list."""
        found: dict[str, list[Record]] = {user_id: [] for user_id in user_ids}
        for document in self._database.find_in("raw_docs", "user_id", found):
            record = read(document, Record)
            found[record.user_id].append(record)
        return {user_id: sorted(records, key=lambda record: (record.timestamp_ms, record.message_id)) for user_id, records in found.items()}

    def campaigns(self) -> list[Campaign]:
        """All campaigns, by campaign_id."""
        return sorted(
            (read(document, Campaign) for document in self._database.find("campaigns")), key=lambda campaign: campaign.campaign_id
        )

    def scan(self) -> Iterator[tuple[str, Held]]:
        """Every record's and campaign's key with what is held there, in no order, in batches: memory does not grow with the rows."""
        for collection in ENTRIES:
            for document in self._database.find(collection, only=HELD_COLUMNS):
                yield str(document["_id"]), held_of(document)

    def _entries(self, keys: Iterable[str], *, only: Sequence[str] = ()) -> Iterator[tuple[str, Document]]:
        for collection, rows in by_collection((key, key) for key in keys).items():
            for document in self._database.find_in(collection, "_id", rows, only=only):
                yield collection, document

    # Embeddings, by the key that the embedder gives a text

    def known_embeddings(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that have a vector."""
        found = self._database.find_in("embeddings", "_id", embedding_ids(keys), only=("_id",))
        return {str(document["_id"])[2:] for document in found}

    def put_embeddings(self, model: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keeps each key's vector, float32 of shape (dim,), to the bit."""
        self._database.upsert("embeddings", (embedding_row(key, model, vector) for key, vector in vectors.items()))

    def embeddings(self, keys: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors, float32 of shape (dim,) and read-only, for those of the keys that have one."""
        found = self._database.find_in("embeddings", "_id", embedding_ids(keys), only=("vector",))
        return {str(document["_id"])[2:]: vector_of(document) for document in found}

    def embedding_keys(self) -> Iterator[str]:
        """The keys of all vectors, in no order, in bounded memory."""
        return (str(document["_id"])[2:] for document in self._database.find("embeddings", only=("_id",)))

    def delete_embeddings(self, keys: Iterable[str]) -> None:
        self._database.delete("embeddings", embedding_ids(keys))

    def texts(self) -> Iterator[str]:
        """What customers said, record by record, in no order, in bounded memory."""
        for document in self._database.find("raw_docs", {"event": "message", "role": "customer"}, only=("message",)):
            if message := document.get("message"):
                yield str(message)

    # Input files, and what could not be read in them

    def next_sequence(self) -> int:
        """A number greater than any given before; one that stays unused leaves a gap and no harm."""
        return self._database.increment("platform_state", "files", "sequence")

    def taken(self, name: str, sha256: str) -> FileReport | None:
        """The latest report of a file of this name and content; None where it was never taken."""
        reports = (read(document, FileReport) for document in self._database.find("files", {"sha256": sha256}))
        return max((report for report in reports if report.name == name), key=lambda report: report.sequence, default=None)

    def put_file(self, report: FileReport) -> None:
        """Keeps the report of its sequence number, over an earlier one of the same number."""
        self._database.upsert("files", [(f"f:{report.sequence:012d}", columns(report))])

    def files(self, limit: int) -> list[FileReport]:
        """The latest reports, newest first."""
        return [read(document, FileReport) for document in self._database.last("files", limit)]

    def put_quarantined(self, file: FileReport, rejected: Sequence[Rejected]) -> None:
        """Keeps what could not be read in a file; the same line of the same content is kept once."""
        self.quarantine.put(file, rejected)

    def quarantined(self, limit: int) -> list[Quarantined]:
        """What could not be read, the newest file's last line first."""
        return self.quarantine.newest(limit)

    # Releases

    def put_release(self, release: Release) -> None:
        """Keeps a release; keeping the same one again changes nothing.

        Raises:
            ContractBroken: another release has this number.
        """
        written = self._database.insert("releases", release_id(release.number), columns(release))
        if not written and self.release(release.number) != release:
            raise ContractBroken("mongodb", f"there is another release {release.number} already")

    def release(self, number: int) -> Release:
        """The release of this number.

        Raises:
            NotFound: there is none.
        """
        document = self._database.one("releases", release_id(number))
        if document is None:
            raise NotFound("mongodb", f"there is no release {number}")
        return read(document, Release)

    def releases(self, limit: int) -> list[Release]:
        """The latest releases, newest first."""
        return [read(document, Release) for document in self._database.last("releases", limit)]

    def latest_release(self) -> Release | None:
        """The release that readers are to trust; None before the first."""
        return next(iter(self.releases(1)), None)

    def confirm(self, sequence: int) -> None:
        """Says that the latest release reflects every file up to this sequence number, also where they changed nothing."""
        self._database.upsert("platform_state", [("confirmed", {"sequence": sequence})])

    def confirmed(self) -> int:
        """The sequence number that was confirmed last; 0 before the first."""
        state = self._database.one("platform_state", "confirmed")
        return 0 if state is None else msgspec.convert(state["sequence"], int)


class DocumentsReader:
    """What the API asks of MongoDB, and what it keeps there, asynchronous. Nothing connects before the first call.

    A server that does not answer is left alone for a moment, and who asks is told at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._client: AsyncMongoClient[Document] = opened(AsyncMongoClient, settings, timeout_s=settings.read_timeout_s)
        database = self._client[settings.mongo_database]
        self._releases = database["releases"]
        self._erasures = database["erasures"]
        self._models = database["ranking_models"]
        self._breaker = Breaker("mongodb")
        self.postings = Postings(database, self._breaker, write_timeout_s=2 * settings.read_timeout_s)

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        with translated("mongodb", MONGODB_ERRORS):
            await self._client.admin.command("ping")

    async def latest_release(self) -> Release | None:
        """The release that readers are to trust; None before the first."""
        with self._breaker, translated("mongodb", MONGODB_ERRORS):
            document = await self._releases.find_one({}, sort=[("_id", -1)])
        return None if document is None else read(document, Release)

    async def ranking_model(self, version: str) -> str:
        """The text of a model.

        Raises:
            NotFound: it is not kept.
        """
        with self._breaker, translated("mongodb", MONGODB_ERRORS):
            document = await self._models.find_one({"_id": model_id(version)})
        return body_of(document, version)

    async def being_erased(self) -> frozenset[str]:
        """The customers who are to be forgotten and are not yet."""
        with self._breaker, translated("mongodb", MONGODB_ERRORS):
            return frozenset([str(document["user_id"]) async for document in self._erasures.find({"done_at_ms": 0}, {"user_id": 1})])


def by_collection(keyed: Iterable[tuple[str, Keyed]]) -> dict[str, dict[str, Keyed]]:
    """The collection of each key ("m:…" is a record, "c:…" a campaign) → the keys that belong there, each with its value."""
    split: dict[str, dict[str, Keyed]] = {}
    for key, value in keyed:
        match key[:2]:
            case "m:":
                split.setdefault("raw_docs", {})[key] = value
            case "c:":
                split.setdefault("campaigns", {})[key] = value
            case _:
                raise ContractBroken("mongodb", f"{key!r} is the key of neither a record nor a campaign")
    return split


def entry_columns(stored: Stored) -> Document:
    return columns(stored.entry) | {"content_hash": stored.content_hash, "sequence": stored.sequence, "line": stored.line}


def held_of(document: Document) -> Held:
    return read({**document, "owner": document.get("user_id", "")}, Held)


def embedding_ids(keys: Iterable[str]) -> Iterator[str]:
    return (f"e:{key}" for key in keys)


def embedding_row(key: str, model: str, vector: NDArray[np.float32]) -> tuple[str, Document]:
    return f"e:{key}", {"model": model, "vector": vector.astype("<f4").tobytes()}


def vector_of(document: Document) -> NDArray[np.float32]:
    return np.frombuffer(msgspec.convert(document["vector"], bytes), "<f4")


def release_id(number: int) -> str:
    return f"r:{number:012d}"
