"""The same records written in bulk, twice: by our stores, and by their drivers alone with everything prepared, which is what the
engine allows. Rows a second; reading, decoding, hashing and ledgers are not in it."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct, structs
from neo4j import GraphDatabase
from pymilvus import DataType, MilvusClient
from pymongo import MongoClient

from benchmarks.synthetic import messages
from platform_assets.assets.metrics import event_row
from ranking.engagement import EngagementWeights, ties_of
from stores.decoding import decode_record
from stores.documents import Documents, Stored, entry_columns
from stores.graph import Graph
from stores.metrics import EventRow, Metrics
from stores.records import Record, content_hash
from stores.settings import Settings
from stores.sql import chunks, open_engine
from stores.vectors import MessageVector, Vectors, connection

NAME = "written"
STATEMENT_ROWS = 5000
WEIGHTS = EngagementWeights()
CREATE_TIES = """
UNWIND $rows AS row MATCH (user:User {{id: row[0]}}) MATCH (end:{label} {{id: row[1]}})
CREATE (user)-[tie:{kind}]->(end) SET tie.count = row[2], tie.weight = row[3], tie.last_at = row[4]
"""


class Rates(Struct, frozen=True):
    """Rows a second: of our store, and of the engine when its driver is handed prepared rows."""

    store: float
    engine: float


def bulk_rates(settings: Settings, folder: Path, *, rows: int, dimension: int) -> dict[str, Rates]:
    """Each store's rates, by asset, on `rows` records of customers who are not among the others. What is written stays in the stores."""
    entries = [
        decode_record(row | {"user_id": f"bulk_{row['user_id']}", "message_id": f"bulk_{n}"})
        for n, row in enumerate(messages(rows, seed=5))
    ]
    records = [entry for entry in entries if isinstance(entry, Record)]
    measured = {"raw_docs": mongodb, "vectors": milvus, "graph": neo4j, "metrics": sql}
    return {asset: measure(settings, folder, records, dimension) for asset, measure in measured.items()}


def rate(rows: Sequence[object], write: Callable[[], object]) -> float:
    began = time.perf_counter()
    write()
    return round(len(rows) / (time.perf_counter() - began), 1)


def mongodb(settings: Settings, _folder: Path, records: Sequence[Record], _: int) -> Rates:
    stored = [Stored(record, content_hash(record), 1, line) for line, record in enumerate(records)]
    prepared = [{"_id": each.entry.key, **entry_columns(each)} for each in stored]
    documents = Documents(structs.replace(settings, mongo_database=NAME))
    documents.prepare()
    ours = rate(records, lambda: [documents.put(batch) for batch in chunks(stored, settings.batch_rows)])
    documents.close()
    with MongoClient(settings.mongo_url) as client:
        rows = client[f"{NAME}_alone"]["records"]
        alone = rate(records, lambda: [rows.insert_many(batch, ordered=False) for batch in chunks(prepared, settings.batch_rows)])
    return Rates(ours, alone)


def milvus(settings: Settings, _folder: Path, records: Sequence[Record], dimension: int) -> Rates:
    drawn = np.random.default_rng(0).standard_normal((len(records), dimension)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    ours = [
        MessageVector(message_id=each.message_id, user_id=each.user_id, timestamp_ms=each.timestamp_ms, vector=vector)
        for each, vector in zip(records, drawn, strict=True)
    ]
    prepared = [
        {"message_id": each.message_id, "user_id": each.user_id, "timestamp": each.timestamp_ms, "vector": each.vector} for each in ours
    ]
    names = {kind: f"{kind[:-1]}_vectors_{NAME}" for kind in ("messages", "users", "campaigns")}
    vectors = Vectors(settings)
    vectors.prepare(**names, dimension=dimension)
    of_store = rate(records, lambda: [vectors.upsert_messages(names["messages"], batch) for batch in chunks(ours, settings.batch_rows)])
    vectors.close()
    client, schema, indexes = MilvusClient(**connection(settings)), MilvusClient.create_schema(), MilvusClient.prepare_index_params()
    schema.add_field("message_id", DataType.VARCHAR, is_primary=True, max_length=128)
    schema.add_field("user_id", DataType.VARCHAR, max_length=128)
    schema.add_field("timestamp", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    indexes.add_index("vector", index_type="FLAT", metric_type="COSINE")
    client.create_collection(NAME, schema=schema, index_params=indexes)
    alone = rate(records, lambda: [client.insert(NAME, batch) for batch in chunks(prepared, settings.batch_rows)])
    client.close()
    return Rates(of_store, alone)


def neo4j(settings: Settings, _folder: Path, records: Sequence[Record], _: int) -> Rates:
    """A record is a part of a tie or two: what is written are customers, each with all their ties, and no two of one kind. Ours have
    their words and channels besides, and every campaign's figures are counted anew, over all that the graph holds; the driver alone
    creates customers and ties."""
    by_user: dict[str, list[Record]] = {}
    for record in records:
        by_user.setdefault(record.user_id, []).append(record)
    customers = [ties_of(user_id, said, weights=WEIGHTS) for user_id, said in by_user.items()]
    store = Graph(settings)
    store.prepare()
    affected: set[str] = set()

    def write() -> None:
        for batch in chunks(customers, 250):  # as many as the asset takes at once, of twenty records each
            affected.update(store.campaigns_affected(batch))
            store.put_customers(batch)
        store.refresh_attraction(affected)

    ours = rate(records, write)
    store.delete_customers(by_user)
    store.close()
    login, database = (settings.neo4j_user, settings.neo4j_password), settings.neo4j_database
    users = [[user_id] for user_id in by_user]
    kinds = {("ENGAGED_WITH", "Campaign"): "engaged_with", ("EXPRESSED", "Intent"): "expressed"}
    ties = {
        kind: [[each.user_id, end, t.count, t.weight, t.last_at_ms] for each in customers for end, t in getattr(each, field).items()]
        for kind, field in kinds.items()
    }
    with GraphDatabase.driver(settings.neo4j_url, auth=login) as driver:

        def create() -> None:
            for some in chunks(users, STATEMENT_ROWS):
                driver.execute_query("UNWIND $rows AS row CREATE (:User {id: row[0]})", {"rows": some}, database_=database)
            for (kind, label), all_of_kind in ties.items():
                for some in chunks(all_of_kind, STATEMENT_ROWS):
                    driver.execute_query(CREATE_TIES.format(kind=kind, label=label), {"rows": some}, database_=database)

        alone = rate(records, create)
    return Rates(ours, alone)


def sql(settings: Settings, folder: Path, records: Sequence[Record], _: int) -> Rates:
    """Of SQLite: its driver alone writes rows of the same columns into one table, without the indexes and the figures that ours keeps."""
    events = [event_row(record, WEIGHTS) for record in records]
    metrics = Metrics(open_engine(structs.replace(settings, sql_url=f"sqlite:///{folder / NAME}.sqlite3")))
    metrics.prepare()

    def write() -> None:
        for batch in chunks(events, settings.batch_rows):
            metrics.put(rows=batch, catalogue=[], gone=[], users=sorted({row.user_id for row in batch}))
        metrics.recount(sorted({row.campaign_id for row in events if row.campaign_id}))

    ours = rate(records, write)
    metrics.close()
    prepared = [structs.astuple(row) for row in events]
    alone = sqlite3.connect(folder / f"{NAME}_alone.sqlite3")
    alone.execute("PRAGMA journal_mode=WAL")
    columns = ", ".join(f'"{name}"' for name in EventRow.__struct_fields__)
    alone.execute(f"CREATE TABLE events ({columns}, PRIMARY KEY (key))")

    def insert() -> None:
        alone.executemany(f"INSERT INTO events VALUES ({', '.join('?' * len(prepared[0]))})", prepared)
        alone.commit()

    rate_alone = rate(records, insert)
    alone.close()
    return Rates(ours, rate_alone)
