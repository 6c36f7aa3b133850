"""How MongoDB is reached: the few operations used of it, what its errors mean, and how a struct becomes a document and back."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import TypeVar, get_args, get_origin

import msgspec
from bson.errors import BSONError
from msgspec import Struct
from pymongo import MongoClient, ReturnDocument, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    DuplicateKeyError,
    EncryptionError,
    ExecutionTimeout,
    InvalidName,
    InvalidOperation,
    OperationFailure,
    ProtocolError,
    PyMongoError,
    WriteConcernError,
)

from stores.errors import ContractBroken, DriverErrors, StoreError, Unavailable, translated
from stores.settings import BadSetting, Settings

BULK_ROWS = 200  # readers of the small local engine wait behind longer bulks
FIND_IDS = 1000
Document = dict[str, object]

PASSING_CODES = frozenset({6, 7, 24, 50, 64, 89, 91, 112, 134, 189, 262, 9001, 10107, 11000, 11600, 11602, 13388, 13435, 13436})
"""Server error codes that pass by themselves: elections, shutdowns, timeouts, conflicts; 11000 is two upserts racing for one key."""


def refused(exc: Exception) -> type[StoreError]:
    """What a refusal by the server means: Unavailable only where every code in it passes by itself."""
    details = exc.details if isinstance(exc, OperationFailure) else None
    if isinstance(exc, BulkWriteError) and details:
        codes = [error.get("code") for part in ("writeErrors", "writeConcernErrors") for error in details.get(part, ())]
    else:
        codes = [exc.code] if isinstance(exc, OperationFailure) else []
    return Unavailable if codes and PASSING_CODES.issuperset(codes) else ContractBroken


MONGODB_ERRORS: DriverErrors = {
    PyMongoError: ContractBroken,
    ConnectionFailure: Unavailable,
    CursorNotFound: Unavailable,
    ExecutionTimeout: Unavailable,
    WriteConcernError: Unavailable,
    OperationFailure: refused,
    CollectionInvalid: ContractBroken,
    ConfigurationError: ContractBroken,
    EncryptionError: ContractBroken,
    InvalidName: ContractBroken,
    InvalidOperation: ContractBroken,
    ProtocolError: ContractBroken,
    # What cannot be written as BSON: a value too large, an integer beyond 64 bits, half of a surrogate pair.
    BSONError: ContractBroken,
    OverflowError: ContractBroken,
    UnicodeError: ContractBroken,
}

Client = TypeVar("Client")
Kept = TypeVar("Kept", bound=Struct)
Item = TypeVar("Item")


def opened(client: Callable[..., Client], settings: Settings, *, timeout_s: float) -> Client:
    """A pymongo client that has not connected yet; no call of it, retries included, takes longer than `timeout_s`.

    Raises:
        BadSetting: the URL cannot be read; its text is not repeated, because it may hold a password.
    """
    timeout_ms = max(1, round(timeout_s * 1000))
    try:
        return client(
            settings.mongo_url,
            connect=False,
            appname="campaigns",
            timeoutMS=timeout_ms,
            connectTimeoutMS=timeout_ms,
            serverSelectionTimeoutMS=timeout_ms,
        )
    except (PyMongoError, ValueError):
        raise BadSetting("CAMPAIGNS_MONGO_URL: not an address of MongoDB, such as mongodb://127.0.0.1:27017") from None


def columns(kept: Struct) -> Document:
    """Every field of a struct as one column. Mappings and structs become JSON text: MongoDB does not take any key as a name."""
    row: Document = msgspec.structs.asdict(kept)
    return row | {name: column(row[name]) for name in composed_fields(type(kept))}


def column(value: object) -> object:
    if isinstance(value, dict | Struct):
        return msgspec.json.encode(value).decode()
    return list(value) if isinstance(value, tuple) else value


@cache
def composed_fields(kind: type[Struct]) -> tuple[str, ...]:
    """The fields of a struct that a document does not hold as they are."""
    return tuple(field.name for field in msgspec.structs.fields(kind) if get_origin(field.type) is tuple or written_as_text(field.type))


@cache
def mapping_fields(kind: type[Struct]) -> tuple[str, ...]:
    """The fields of a struct that `columns` writes as JSON text."""
    return tuple(field.name for field in msgspec.structs.fields(kind) if written_as_text(field.type))


def written_as_text(kind: object) -> bool:
    """Whether values of this type are mappings or structs."""
    if isinstance(kind, UnionType):
        return any(written_as_text(each) for each in get_args(kind))
    return get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, Struct))


def read(document: Mapping[str, object], kind: type[Kept]) -> Kept:
    """The struct that `columns` made this document from; further columns are left aside.

    Raises:
        ContractBroken: the document is not one that this code writes.
    """
    try:
        mappings = {name: msgspec.json.decode(str(document[name])) for name in mapping_fields(kind) if document.get(name) is not None}
        # not strict, because the small local engine gives a boolean that was set over another one back as 0 or 1
        return msgspec.convert({**document, **mappings}, kind, strict=False)
    except msgspec.MsgspecError as exc:
        raise ContractBroken("mongodb", f"{document.get('_id')} is no {kind.__name__}: {exc}") from exc


def slices(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in order, in lists of `size`, the last one shorter."""
    rest = iter(items)
    while some := list(itertools.islice(rest, size)):
        yield some


class Database:
    """One database, through the operations that every engine here answers alike: by `_id` or its beginning, by `$in` and by plain equality.

    Documents are written as `$set` of columns under an `_id` that comes from their content, so a write may be repeated.
    Nothing connects before the first call.
    """

    def __init__(self, settings: Settings) -> None:
        self._client: MongoClient[Document] = opened(MongoClient, settings, timeout_s=settings.write_timeout_s)
        self._database = self._client[settings.mongo_database]

    def close(self) -> None:
        self._client.close()

    @translated("mongodb", MONGODB_ERRORS)
    def ping(self) -> None:
        self._client.admin.command("ping")

    @translated("mongodb", MONGODB_ERRORS)
    def index(self, collection: str, *names: str) -> None:
        """An ascending index on these columns. One that is there is not asked for again: the small local engine would write it again."""
        keys = [(name, 1) for name in names]
        if all(index["key"] != keys for index in self._database[collection].index_information().values()):
            self._database[collection].create_index(keys)

    @translated("mongodb", MONGODB_ERRORS)
    def count(self, collection: str) -> int:
        """How many documents the collection holds, counted, not estimated.

        This is what the driver's `count_documents` sends, but for an empty `$match`: for that the small local engine reads all documents.
        """
        counted = next(self._database[collection].aggregate([{"$group": {"_id": None, "rows": {"$sum": 1}}}]), {"rows": 0})
        return msgspec.convert(counted["rows"], int)

    @translated("mongodb", MONGODB_ERRORS)
    def holds(self, collection: str) -> bool:
        """Whether there is any document in the collection."""
        return self._database[collection].find_one({}, {"_id": 1}) is not None

    @translated("mongodb", MONGODB_ERRORS)
    def one(self, collection: str, key: str) -> Document | None:
        return self._database[collection].find_one({"_id": key})

    @translated("mongodb", MONGODB_ERRORS)
    def last(self, collection: str, limit: int, *, by: Sequence[str] = ("_id",)) -> list[Document]:
        """The `limit` documents with the greatest values of these columns, the greatest first."""
        return list(self._database[collection].find({}, sort=[(name, -1) for name in by], limit=limit))

    def descending(self, collection: str, *, by: Sequence[str]) -> Iterator[Document]:
        """Every document, the greatest values of these columns first, fetched in batches."""
        with translated("mongodb", MONGODB_ERRORS):
            yield from self._database[collection].find({}, sort=[(name, -1) for name in by], batch_size=FIND_IDS)

    @translated("mongodb", MONGODB_ERRORS)
    def beginning(self, collection: str, key: str) -> list[Document]:
        """The documents whose `_id` begins so, in no order."""
        return list(self._database[collection].find({"_id": {"$gte": key, "$lt": key + "~"}}))

    def find(self, collection: str, where: Mapping[str, object] | None = None, *, only: Sequence[str] = ()) -> Iterator[Document]:
        """Every document whose columns have these values, in no order, fetched in batches; with `only` these columns and `_id`."""
        with translated("mongodb", MONGODB_ERRORS):
            yield from self._database[collection].find(where or {}, dict.fromkeys(only, 1) or None, batch_size=FIND_IDS)

    def find_in(self, collection: str, column: str, values: Iterable[str], *, only: Sequence[str] = ()) -> Iterator[Document]:
        """Every document whose column has one of these values, in no order, however many the values are."""
        for some in slices(values, FIND_IDS):
            yield from self.find(collection, {column: {"$in": some}}, only=only)

    @translated("mongodb", MONGODB_ERRORS)
    def upsert(self, collection: str, rows: Iterable[tuple[str, Document]]) -> None:
        """Sets each key's columns, whether the document is there or not."""
        writes = (UpdateOne({"_id": key}, {"$set": row}, upsert=True) for key, row in rows)
        for bulk in slices(writes, BULK_ROWS):
            self._database[collection].bulk_write(bulk, ordered=False)

    @translated("mongodb", MONGODB_ERRORS)
    def insert(self, collection: str, key: str, row: Document) -> bool:
        """Writes a document where there is none; False, and nothing written, where the key is taken."""
        try:
            self._database[collection].insert_one({"_id": key, **row})
        except DuplicateKeyError:
            return False
        return True

    @translated("mongodb", MONGODB_ERRORS)
    def increment(self, collection: str, key: str, column: str) -> int:
        """Adds 1 to a number that begins at 0, in one step, and gives the new number."""
        rows = self._database[collection]
        row = rows.find_one_and_update({"_id": key}, {"$inc": {column: 1}}, upsert=True, return_document=ReturnDocument.AFTER)
        return msgspec.convert((row or {}).get(column), int)

    @translated("mongodb", MONGODB_ERRORS)
    def delete(self, collection: str, keys: Iterable[str]) -> None:
        """Removes these documents; one that is not there is no error."""
        for some in slices(keys, FIND_IDS):
            self._database[collection].delete_many({"_id": {"$in": some}})
