"""Everything that the five stores hold, as plain values, and how two such contents differ.

Left out is what a history may leave behind by design: which file a record came from, release numbers and times, stamps,
vectors of texts that nobody says any more.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from msgspec import Struct
from neo4j import GraphDatabase
from pymilvus import MilvusClient
from sqlalchemy import select

from platform_assets.assets.embeddings import text_of
from platform_assets.resources import Stores
from stores import ledger, metrics
from stores.records import content_hash
from stores.settings import Settings
from stores.vectors import connection

TOLERANCE = 1e-5
GRAPH_NODES = "MATCH (n) WHERE NOT n:Platform RETURN labels(n)[0], n.id, properties(n)"
GRAPH_TIES = "MATCH (a)-[t]->(b) RETURN type(t), a.id, b.id, properties(t)"
SQL_TABLES = (metrics.events, metrics.campaigns, metrics.engagement, metrics.figures, metrics.days)


class Contents(Struct, frozen=True, kw_only=True):
    """What the stores hold, by store: each a mapping from a readable key to a value."""

    mongodb: dict[str, object]
    embeddings: dict[str, object]
    milvus: dict[str, object]
    neo4j: dict[str, object]
    sql: dict[str, object]
    ledgers: dict[str, object]
    release: dict[str, object]


def contents_of(settings: Settings) -> Contents:
    """The full contents of the stores at `settings`. What is there twice gets a key of its own, and so is a difference."""
    stores = Stores(settings)
    try:
        documents = {key: held.content_hash for key, held in stores.documents.scan()}
        entries = stores.documents.get(documents)
        texts = {text for entry in entries.values() if (text := text_of(entry)) is not None}
        vectors = stores.documents.embeddings(stores.embedder.key(text) for text in texts)
        return Contents(
            mongodb={key: (stated, content_hash(entries[key])) for key, stated in documents.items()},
            embeddings={text: vectors.get(stores.embedder.key(text)) for text in texts},
            milvus=keyed(_milvus(settings, stores)),
            neo4j=keyed(_neo4j(settings)),
            sql=keyed(_sql(stores)),
            ledgers=keyed(_ledgers(stores)),
            release=_release(stores),
        )
    finally:
        stores.close()


def keyed(rows: Iterator[tuple[str, object]]) -> dict[str, object]:
    """The rows as a mapping; a key that comes again is told apart by a number."""
    found: dict[str, object] = {}
    for key, value in rows:
        again = sum(1 for n in range(2, 99) if f"{key} ({n})" in found) + 2 if key in found else 1
        found[key if again == 1 else f"{key} ({again})"] = value
    return found


def _milvus(settings: Settings, stores: Stores) -> Iterator[tuple[str, object]]:
    client = MilvusClient(**connection(settings))
    try:
        for kind, name, fields in (
            ("message", stores.collections.messages, ["message_id", "user_id", "timestamp", "vector"]),
            ("user", stores.collections.users, ["user_id", "vector"]),
            ("campaign", stores.collections.campaigns, ["campaign_id", "vector"]),
        ):
            ids = sorted(stores.vectors.ids(name))
            yield f"how many {kind}", (len(ids), stores.vectors.count(name))
            for start in range(0, len(ids), 500):
                for row in client.get(name, ids[start : start + 500], output_fields=fields):
                    yield f"{kind} {row[fields[0]]}", [np.asarray(row.pop("vector"), np.float32), dict(row)]
    finally:
        client.close()


def _neo4j(settings: Settings) -> Iterator[tuple[str, object]]:
    login = (settings.neo4j_user, settings.neo4j_password)
    with GraphDatabase.driver(settings.neo4j_url, auth=login) as driver:
        for label, id_, properties in driver.execute_query(GRAPH_NODES, database_=settings.neo4j_database).records:
            yield f"{label} {id_}", dict(properties)
        for kind, start, end, properties in driver.execute_query(GRAPH_TIES, database_=settings.neo4j_database).records:
            yield f"{start} {kind} {end}", dict(properties)


def _sql(stores: Stores) -> Iterator[tuple[str, object]]:
    with stores._sql.connect() as connection:
        for table in SQL_TABLES:
            names = [column.name for column in table.primary_key.columns]
            for row in connection.execute(select(table)).mappings():
                yield f"{table.name} {' '.join(str(row[name]) for name in names)}", dict(row)


def _ledgers(stores: Stores) -> Iterator[tuple[str, object]]:
    with stores._sql.connect() as connection:
        for name in ("raw_docs", stores.embeddings_ledger, stores.collections.ledger, "graph", "metrics"):
            for row in connection.execute(select(ledger.rows).where(ledger.rows.c.store == name)):
                yield f"{name} {row.id}", (row.content_hash, row.mark, row.owner, row.held, row.next_hash)
        for row in connection.execute(select(ledger.touched)):
            yield f"touched {row.store} {row.key}", True


def _release(stores: Stores) -> dict[str, object]:
    latest = stores.documents.latest_release()
    if latest is None:
        return {"there": False}
    said = {name: getattr(latest, name) for name in ("digest", "collections", "rows", "newest_record_ms")}
    return said | {"published": stores.cache.published() == latest.number}


def differences(found: Contents, expected: Contents) -> list[str]:
    """One line for each thing that is missing, too much or other than expected; empty where the contents are equal."""
    return [
        f"{store}: {line}" for store in Contents.__struct_fields__ for line in _differences(getattr(found, store), getattr(expected, store))
    ]


def _differences(found: Mapping[str, object], expected: Mapping[str, object]) -> Iterator[str]:
    yield from (f"{key} is lost" for key in sorted(expected.keys() - found.keys()))
    yield from (f"{key} is too much: {found[key]}" for key in sorted(found.keys() - expected.keys()))
    for key in sorted(found.keys() & expected.keys()):
        if not same(found[key], expected[key]):
            yield f"{key} is {found[key]}, not {expected[key]}"


def same(found: object, expected: object) -> bool:
    """Equal; numbers with a fraction, and vectors, to within 1e-5."""
    match found, expected:
        case np.ndarray(), np.ndarray():
            return found.shape == expected.shape and bool(np.abs(found - expected).max() <= TOLERANCE)
        case float(), float():
            return math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        case dict(), dict():
            return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in found)
        case list() | tuple(), list() | tuple():
            return len(found) == len(expected) and all(map(same, found, expected))
        case _:
            return bool(found == expected)
