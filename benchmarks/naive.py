"""What one would write first: a row at a time, each waited for, by the same drivers. Rows a second, on a sample."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from neo4j import GraphDatabase
from pymilvus import DataType, MilvusClient
from pymongo import MongoClient
from sqlalchemy import create_engine, text

from stores.settings import Settings
from stores.vectors import connection

Row = dict[str, object]


def naive_rates(settings: Settings, rows: Sequence[Row], *, dimension: int) -> dict[str, float]:
    """Rows a second of each store, by asset. Everything written is removed again."""
    writers: dict[str, Callable[[Settings, Sequence[Row], int], float]] = {
        "raw_docs": mongodb,
        "vectors": milvus,
        "graph": neo4j,
        "metrics": sql,
    }
    return {asset: round(len(rows) / write(settings, rows, dimension), 1) for asset, write in writers.items()}


def mongodb(settings: Settings, rows: Sequence[Row], _: int) -> float:
    with MongoClient(settings.mongo_url) as client:
        began = time.perf_counter()
        for row in rows:
            client["naive"]["records"].update_one({"_id": f"m:{row['message_id']}"}, {"$set": row}, upsert=True)
        seconds = time.perf_counter() - began
        client.drop_database("naive")
    return seconds


def milvus(settings: Settings, rows: Sequence[Row], dimension: int) -> float:
    client = MilvusClient(**connection(settings))
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("message_id", DataType.VARCHAR, is_primary=True, max_length=128)
    schema.add_field("user_id", DataType.VARCHAR, max_length=128)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type="COSINE")
    client.create_collection("naive", schema=schema, index_params=indexes)
    vector = np.full(dimension, dimension**-0.5, np.float32)
    began = time.perf_counter()
    for row in rows:
        client.upsert("naive", [{"message_id": row["message_id"], "user_id": row["user_id"], "vector": vector}])
    seconds = time.perf_counter() - began
    client.drop_collection("naive")
    client.close()
    return seconds


def neo4j(settings: Settings, rows: Sequence[Row], _: int) -> float:
    """A record is a customer, an intent, perhaps a campaign, and the ties between them."""
    put = """
    MERGE (user:Naive {id: $user_id}) MERGE (intent:Naive {id: $intent}) MERGE (user)-[:SAID]->(intent)
    FOREACH (id IN CASE WHEN $campaign_id IS NULL THEN [] ELSE [$campaign_id] END |
      MERGE (campaign:Naive {id: id}) MERGE (user)-[tie:MET]->(campaign) SET tie.last_at = $timestamp)
    """
    login, database = (settings.neo4j_user, settings.neo4j_password), settings.neo4j_database
    with GraphDatabase.driver(settings.neo4j_url, auth=login) as driver:
        driver.execute_query("CREATE CONSTRAINT naive_id IF NOT EXISTS FOR (n:Naive) REQUIRE n.id IS UNIQUE", database_=database)
        began = time.perf_counter()
        for row in rows:
            driver.execute_query(put, row, database_=database)
        seconds = time.perf_counter() - began
        driver.execute_query("MATCH (n:Naive) DETACH DELETE n", database_=database)
    return seconds


def sql(settings: Settings, rows: Sequence[Row], _: int) -> float:
    engine = create_engine(settings.sql_url)
    put = text("INSERT INTO naive VALUES (:message_id, :user_id, :timestamp, :campaign_id, :intent)")
    with engine.begin() as connected:
        connected.execute(text("CREATE TABLE naive (id TEXT PRIMARY KEY, user_id TEXT, at TEXT, campaign_id TEXT, intent TEXT)"))
    began = time.perf_counter()
    for row in rows:
        with engine.begin() as connected:
            connected.execute(put, row)
    seconds = time.perf_counter() - began
    with engine.begin() as connected:
        connected.execute(text("DROP TABLE naive"))
    engine.dispose()
    return seconds
