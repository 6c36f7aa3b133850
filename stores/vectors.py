"""Milvus: the vectors of what customers said, of customers and of campaigns' own texts; who is like whom.

Milvus takes no bound parameters, so rows are found by ids alone, and only by ids that passed `ID_PATTERN`.
Milvus 2.3 and newer, and milvus-lite, are served by the same calls.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal, TypeVar

import grpc  # type: ignore[import-untyped]
import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from pymilvus import AsyncMilvusClient, DataType, MilvusClient, exceptions
from pymilvus.client.types import LoadState

from stores.breaker import Breaker
from stores.errors import ContractBroken, DriverErrors, NotFound, StoreError, Unavailable, translated
from stores.evidence import Neighbour
from stores.records import Id
from stores.settings import Settings

SCHEMA_VERSION = 1
METRIC = "COSINE"
STATE = "platform_state"
KEYS = {"message_vectors": "message_id", "user_vectors": "user_id", "campaign_vectors": "campaign_id", STATE: "name"}
KINDS = tuple(kind for kind in KEYS if kind != STATE)
ID_LENGTH = 128
PAGE_ROWS = 10_000  # the server refuses more than 16,384 a page
UPSERT_BYTES = 16 * 1024 * 1024
IDS_PER_CALL = 1000
# Each client redials by itself and soon: gRPC would share the failures of one address among all clients, and wait up to two
# minutes after them. Its pings are left out, since every call has a timeout and the server closes a connection that pings often.
CHANNEL = {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.keepalive_time_ms": 2**31 - 1,
}

Vector = NDArray[np.float32]
Answer = TypeVar("Answer")
Fields = Mapping[str, tuple[DataType, dict[str, int]]]

# The driver logs each failed call as pages of traceback; what failed is told by the error that it raises.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


class NotLoaded(Unavailable):
    """The collection exists but is not in memory, as after a restart of the embedded engine."""


def _by_code(error: Any) -> type[StoreError]:
    """What the server said, by its error code; what the driver gave up on has none of its own and can be tried again."""
    gave_up = isinstance(error.code, grpc.StatusCode) or GAVE_UP.match(error.message) is not None
    if gave_up or error.retriable or error.code in TRY_AGAIN_CODES:
        return Unavailable
    return {COLLECTION_NOT_LOADED: NotLoaded, COLLECTION_NOT_FOUND: NotFound, INDEX_NOT_FOUND: NotFound}.get(error.code, ContractBroken)


def _by_status(error: Exception) -> type[StoreError]:
    """What the transport said; a call that the server does not know or does not allow will fail for ever."""
    status = error.code() if hasattr(error, "code") else None
    return ContractBroken if status in NEVER_STATUSES else Unavailable


COLLECTION_NOT_FOUND, COLLECTION_NOT_LOADED, INDEX_NOT_FOUND = 100, 101, 700
TRY_AGAIN_CODES = {2, 3, 4, 7, 8, 9, 103}  # cannot connect; memory, request, disk and rate limits; quota; still loading
GAVE_UP = re.compile(r"\[\w+\] Retry ")
NEVER_STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
}

MISUSES = (
    exceptions.ParamError,
    exceptions.AmbiguousIndexName,
    exceptions.AutoIDException,
    exceptions.CannotInferSchemaException,
    exceptions.ClusteringKeyException,
    exceptions.ConnectionConfigException,
    exceptions.ConnectionNotExistException,
    exceptions.DataNotMatchException,
    exceptions.DataTypeNotMatchException,
    exceptions.DataTypeNotSupportException,
    exceptions.FieldTypeException,
    exceptions.FieldsTypeException,
    exceptions.FunctionsTypeException,
    exceptions.InvalidConsistencyLevel,
    exceptions.PartitionAlreadyExistException,
    exceptions.PartitionKeyException,
    exceptions.PrimaryKeyException,
    exceptions.SchemaNotReadyException,
    exceptions.ServerVersionIncompatibleException,
)
MILVUS_ERRORS: DriverErrors = {
    **dict.fromkeys(MISUSES, ContractBroken),
    exceptions.ConnectError: Unavailable,
    exceptions.MilvusUnavailableException: Unavailable,
    exceptions.SchemaMismatchRetryableException: Unavailable,
    exceptions.DescribeCollectionException: _by_code,
    exceptions.CollectionNotExistException: NotFound,
    exceptions.IndexNotExistException: NotFound,
    exceptions.MilvusException: _by_code,
    grpc.RpcError: _by_status,
    grpc.FutureTimeoutError: Unavailable,
    TimeoutError: Unavailable,
}


class MessageVector(Struct, frozen=True, kw_only=True):
    """What one message says. `vector` is float32, (dimension,), of length 1; `timestamp_ms` is epoch milliseconds, UTC."""

    message_id: str
    user_id: str
    timestamp_ms: int
    vector: Vector


def collection_name(
    kind: Literal["message_vectors", "user_vectors", "campaign_vectors"], *, model: str, dimension: int, fingerprint: str, revision: int = 0
) -> str:
    """The physical name of a collection: what it holds, the model's last name, the dimension, what else tells two apart."""
    slug = re.sub(r"[^a-z0-9]+", "_", model.rstrip("/").rsplit("/", 1)[-1].lower()).strip("_")[:100] or "model"
    suffix = re.sub(r"[^A-Za-z0-9]+", "_", fingerprint)[:32]
    return f"{kind}_{slug}_{dimension}_{suffix}" + (f"_r{revision}" if revision else "")


def key_field(name: str) -> str:
    """The primary key of a collection, told by the kind that its name begins with."""
    for kind, field in KEYS.items():
        if name.startswith(kind):
            return field
    raise ContractBroken("milvus", f"{name} is no collection of this platform")


def checked_ids(ids: Iterable[str]) -> list[str]:
    """The ids as a list, once each.

    Raises:
        ContractBroken: one of them could be read as more than an id.
    """
    try:
        return list(dict.fromkeys(msgspec.convert(list(ids), list[Id])))
    except msgspec.ValidationError as exc:
        raise ContractBroken("milvus", f"not an id: {exc}") from exc


def checked_vector(vector: Vector) -> Vector:
    """The vector, which must be one row of finite float32 numbers: milvus-lite would keep a NaN without a word."""
    if vector.dtype != np.float32 or vector.ndim != 1 or not np.isfinite(vector).all():
        raise ContractBroken("milvus", f"not a vector of finite float32 numbers: {vector.dtype} {vector.shape}")
    return vector


def connection(settings: Settings) -> dict[str, Any]:
    """How both clients connect: each over a connection of its own, which closing it closes."""
    return {"uri": settings.milvus_url, "token": settings.milvus_token, "dedicated": True, "grpc_options": CHANNEL}


class Vectors:
    """The writing side. Connects on first use; every call ends within `write_timeout_s`.

    A reader always finds whole rows: an upsert replaces a row in place, and repeating one changes nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout_s = settings.write_timeout_s

    @cached_property
    def _client(self) -> MilvusClient:
        return MilvusClient(**connection(self._settings), timeout=self._timeout_s)

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if (client := self.__dict__.pop("_client", None)) is not None:
            client.close()

    def ping(self) -> None:
        """Raises Unavailable where Milvus does not answer."""
        with translated("milvus", MILVUS_ERRORS):
            self._client.get_server_version(timeout=self._timeout_s)

    def prepare(self, *, messages: str, users: str, campaigns: str, dimension: int) -> None:
        """Creates what is missing, gives it the index of the settings, and brings it into memory. Idempotent.

        The campaigns' collection is read by id and never searched: it has the plainest index.

        Raises:
            ContractBroken: the state is of another schema version, or a collection of another dimension.
        """
        settings = self._settings
        wanted = (settings.vector_index, settings.vector_index_params)
        with translated("milvus", MILVUS_ERRORS):
            self._open(STATE, {"value": (DataType.VARCHAR, {"max_length": 1024})}, dimension=2, index=("FLAT", {}))
            found = self.stamp("schema_version")
            if found not in {None, str(SCHEMA_VERSION)}:
                raise ContractBroken("milvus", f"its schema is of version {found}, this program needs version {SCHEMA_VERSION}")
            if found is None:
                self.set_stamp("schema_version", str(SCHEMA_VERSION))
            said = {"user_id": (DataType.VARCHAR, {"max_length": ID_LENGTH}), "timestamp": (DataType.INT64, {})}
            self._open(messages, said, dimension=dimension, index=wanted)
            self._open(users, {}, dimension=dimension, index=wanted)
            self._open(campaigns, {}, dimension=dimension, index=("FLAT", {}))

    def _open(self, name: str, fields: Fields, *, dimension: int, index: tuple[str, Mapping[str, int]]) -> None:
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index("vector", index_name="vector", index_type=index[0], metric_type=METRIC, params=dict(index[1]))
        if self._client.has_collection(name, timeout=self._timeout_s):
            self._check_dimension(name, dimension)
            self._mend_index(name, indexes)
        else:
            schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field(key_field(name), DataType.VARCHAR, is_primary=True, max_length=ID_LENGTH)
            for field, (kind, options) in fields.items():
                schema.add_field(field, kind, **options)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
            self._client.create_collection(name, timeout=self._timeout_s, schema=schema, consistency_level="Strong")
            self._client.create_index(name, indexes, timeout=self._timeout_s, sync=False)  # nothing to index: the driver would wait 0.5 s
            self._client.load_collection(name, timeout=self._timeout_s)
        self._load(name)

    def _check_dimension(self, name: str, dimension: int) -> None:
        fields = self._client.describe_collection(name, timeout=self._timeout_s)["fields"]
        found = next((int(field["params"]["dim"]) for field in fields if field["name"] == "vector"), None)
        if found != dimension:
            raise ContractBroken("milvus", f"{name} holds vectors of dimension {found}, not {dimension}")

    def _mend_index(self, name: str, indexes: Any) -> None:
        """Builds the index anew where the settings ask for another one; milvus-lite tells the kind alone, not its parameters."""
        wanted = {key: str(value) for key, value in indexes[0].to_dict().items()}
        found = self._client.describe_index(name, "vector", timeout=self._timeout_s) or {}
        if "index_type" in found and all(str(found.get(key, value)) == value for key, value in wanted.items()):
            return
        self._client.release_collection(name, timeout=self._timeout_s)
        if found:
            self._client.drop_index(name, "vector", timeout=self._timeout_s)
        self._client.create_index(name, indexes, timeout=self._timeout_s)

    def _load(self, name: str) -> None:
        """Brings a collection into memory; flushes it then, since milvus-lite searches the rows of before a restart slowly."""
        if self._client.get_load_state(name, timeout=self._timeout_s)["state"] != LoadState.Loaded:
            self._client.load_collection(name, timeout=self._timeout_s)
            self._client.flush(name, timeout=self._timeout_s)

    def _read(self, name: str, call: Callable[[], Answer]) -> Answer:
        with translated("milvus", MILVUS_ERRORS):
            try:
                with translated("milvus", MILVUS_ERRORS):
                    return call()
            except NotLoaded:
                self._load(name)
                return call()

    def stamp(self, name: str) -> str | None:
        """The text last set under this name; None where there is none, or the state is gone."""
        try:
            found = self._fetch(STATE, [name], "value")
        except NotFound:
            return None
        return str(found[0]["value"]) if found else None

    def set_stamp(self, name: str, value: str) -> None:
        """Sets the text under this name."""
        self._upsert(STATE, [{"name": name, "value": value, "vector": np.ones(2, np.float32)}])

    def collections(self) -> list[str]:
        """The names of all collections of vectors, old ones too, sorted."""
        with translated("milvus", MILVUS_ERRORS):
            names = self._client.list_collections(timeout=self._timeout_s)
        return sorted(name for name in names if name.startswith(KINDS))

    def drop(self, name: str) -> None:
        """Removes a collection with everything in it; nothing happens where it is not there."""
        with translated("milvus", MILVUS_ERRORS):
            self._client.drop_collection(name, timeout=self._timeout_s)

    def count(self, name: str) -> int:
        """How many rows the collection holds now."""
        rows = self._read(name, lambda: self._client.query(name, filter="", output_fields=["count(*)"], timeout=self._timeout_s))
        return int(rows[0]["count(*)"])

    def ids(self, name: str) -> Iterator[str]:
        """The ids of all rows, in no order, in bounded memory."""
        return self._found(name, "")

    def ids_of(self, name: str, user_id: str) -> list[str]:
        """The ids of one customer's rows, in no order; none where the rows are campaigns'."""
        if key_field(name) == KEYS["campaign_vectors"]:
            return []
        return list(self._found(name, f'user_id == "{checked_ids([user_id])[0]}"'))

    def _found(self, name: str, condition: str) -> Iterator[str]:
        key = key_field(name)
        options = {
            "filter": condition,
            "batch_size": PAGE_ROWS,
            "output_fields": [key],
            "timeout": self._timeout_s,
            "consistency_level": "Strong",
        }
        with translated("milvus", MILVUS_ERRORS):
            pages = self._read(name, lambda: self._client.query_iterator(name, **options))
            while rows := pages.next():
                yield from (row[key] for row in rows)
            pages.close()

    def settle(self, name: str) -> None:
        """Makes what was written fast to search: flushes it into segments, and loads the collection."""
        with translated("milvus", MILVUS_ERRORS):
            self._client.flush(name, timeout=self._timeout_s)
            self._client.load_collection(name, timeout=self._timeout_s)

    def upsert_messages(self, name: str, rows: Sequence[MessageVector]) -> None:
        """Writes these rows over the ones of the same message_id. Idempotent."""
        self._upsert(
            name,
            [
                {"message_id": row.message_id, "user_id": row.user_id, "timestamp": row.timestamp_ms, "vector": checked_vector(row.vector)}
                for row in rows
            ],
        )

    def upsert_users(self, name: str, vectors: Mapping[str, Vector]) -> None:
        """Writes these customers' vectors (float32, (dimension,), of length 1) over the ones they had. Idempotent."""
        self._upsert_by_id(name, vectors)

    def upsert_campaigns(self, name: str, vectors: Mapping[str, Vector]) -> None:
        """Writes the vectors of these campaigns' own texts (float32, (dimension,), of length 1) over the ones they had. Idempotent."""
        self._upsert_by_id(name, vectors)

    def _upsert_by_id(self, name: str, vectors: Mapping[str, Vector]) -> None:
        self._upsert(name, [{key_field(name): id_, "vector": checked_vector(vector)} for id_, vector in vectors.items()])

    def _upsert(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        key = key_field(name)
        checked_ids(row[key] for row in rows)
        once = list({row[key]: row for row in rows}.values())  # the server would keep a key that comes twice in one call twice
        batch_rows = max(1, min(self._settings.batch_rows, UPSERT_BYTES // max(1, rows[0]["vector"].nbytes))) if rows else 1
        with translated("milvus", MILVUS_ERRORS):
            for start in range(0, len(once), batch_rows):
                self._client.upsert(name, once[start : start + batch_rows], timeout=self._timeout_s)

    def delete(self, name: str, ids: Iterable[str]) -> None:
        """Removes the rows with these ids; unknown ones are passed over. Idempotent."""
        checked = checked_ids(ids)
        with translated("milvus", MILVUS_ERRORS):
            for start in range(0, len(checked), IDS_PER_CALL):
                self._client.delete(name, ids=checked[start : start + IDS_PER_CALL], timeout=self._timeout_s)

    def get(self, name: str, ids: Iterable[str]) -> dict[str, Vector]:
        """The vectors of these ids, float32, (dimension,); unknown ids are left out."""
        key = key_field(name)
        return {row[key]: np.asarray(row["vector"], np.float32) for row in self._fetch(name, ids, "vector")}

    def messages(self, name: str, ids: Iterable[str]) -> dict[str, MessageVector]:
        """The whole rows of these messages, by message_id; unknown ids are left out."""
        return {
            row["message_id"]: MessageVector(
                message_id=row["message_id"],
                user_id=row["user_id"],
                timestamp_ms=row["timestamp"],
                vector=np.asarray(row["vector"], np.float32),
            )
            for row in self._fetch(name, ids, "user_id", "timestamp", "vector")
        }

    def _fetch(self, name: str, ids: Iterable[str], *wanted: str) -> list[dict[str, Any]]:
        fields, checked = [key_field(name), *wanted], checked_ids(ids)
        rows: list[dict[str, Any]] = []
        for start in range(0, len(checked), IDS_PER_CALL):
            call = partial(self._client.get, name, checked[start : start + IDS_PER_CALL], fields, self._timeout_s)
            rows += self._read(name, call)
        return rows


class VectorsReader:
    """The reading side, for one event loop. Connects on first use; every call ends within `read_timeout_s`, connecting included.

    After a restart of the server it connects again and loads what it needs by itself. A server that does not answer is left
    alone for a moment, and its readers are told at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout_s = settings.read_timeout_s
        self._client: AsyncMilvusClient | None = None
        self._connecting = asyncio.Lock()
        self._breaker = Breaker("milvus")

    async def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def ping(self) -> None:
        """Raises Unavailable where Milvus does not answer."""
        await self._ask(lambda client: client.get_server_version(timeout=self._timeout_s))

    async def user_vector(self, name: str, user_id: str) -> Vector | None:
        """One customer's vector, float32, (dimension,); None for a customer who said nothing."""
        return (await self.user_vectors(name, [user_id])).get(user_id)

    async def user_vectors(self, name: str, user_ids: Sequence[str]) -> dict[str, Vector]:
        """The vectors of these customers, float32, (dimension,); who said nothing is left out."""
        ids, fields = checked_ids(user_ids), ["user_id", "vector"]
        rows = await self._ask(lambda client: client.get(name, ids, output_fields=fields, timeout=self._timeout_s), loads=name)
        return {row["user_id"]: np.asarray(row["vector"], np.float32) for row in rows}

    async def campaign_vectors(self, name: str, campaign_ids: Iterable[str]) -> dict[str, Vector]:
        """The vectors of these campaigns' own texts, float32, (dimension,), of length 1; campaigns without one are left out.

        Read in pages, each within `read_timeout_s`.
        """
        ids, found = checked_ids(campaign_ids), dict[str, Vector]()
        for start in range(0, len(ids), IDS_PER_CALL):
            page = ids[start : start + IDS_PER_CALL]
            rows = await self._ask(partial(_fetched, name=name, ids=page, timeout_s=self._timeout_s), loads=name)
            found |= {row["campaign_id"]: np.asarray(row["vector"], np.float32) for row in rows}
        return found

    async def similar_users(self, name: str, vector: Vector, *, limit: int) -> list[Neighbour]:
        """The `limit` customers whose vectors are nearest by cosine, the most alike first; the one asked about is among them."""
        [found] = await self.similar_to_each(name, [vector], limit=limit)
        return found

    async def similar_to_each(self, name: str, vectors: Sequence[Vector], *, limit: int) -> list[list[Neighbour]]:
        """What `similar_users` gives for each of these vectors, in their order, in one search."""
        options = {
            "data": [checked_vector(vector) for vector in vectors],
            "anns_field": "vector",
            "search_params": {"metric_type": METRIC, "params": self._settings.vector_search_params},
            "limit": limit,
            "output_fields": ["user_id"],
            "timeout": self._timeout_s,
        }
        found = await self._ask(lambda client: client.search(name, **options), loads=name)
        return [_nearest_first(hits) for hits in found]

    async def _ask(self, call: Callable[[AsyncMilvusClient], Awaitable[Any]], *, loads: str | None = None) -> Any:
        with self._breaker, translated("milvus", MILVUS_ERRORS):
            async with asyncio.timeout(self._timeout_s):
                client = await self._connected()
                try:
                    with translated("milvus", MILVUS_ERRORS):
                        return await call(client)
                except NotLoaded:
                    await client.load_collection(loads, timeout=self._timeout_s)
                    return await call(client)

    async def _connected(self) -> AsyncMilvusClient:
        async with self._connecting:
            if self._client is None:
                self._client = await AsyncMilvusClient(**connection(self._settings), timeout=self._timeout_s).__aenter__()
        return self._client


async def _fetched(client: AsyncMilvusClient, *, name: str, ids: list[str], timeout_s: float) -> Any:
    return await client.get(name, ids, output_fields=[key_field(name), "vector"], timeout=timeout_s)


def _nearest_first(hits: Iterable[Any]) -> list[Neighbour]:
    found = (Neighbour(user_id=hit["entity"]["user_id"], similarity=float(hit["distance"])) for hit in hits)
    return sorted(found, key=lambda neighbour: (-neighbour.similarity, neighbour.user_id))
