"""Full stores without a pipeline: made-up customers and messages, written straight to the stores by their own writing sides."""

import random
from collections.abc import Iterator

import numpy as np

from benchmarks.synthetic import CAMPAIGNS, FIRST_DAY, INTENTS, THINGS
from ranking.engagement import EngagementWeights, ties_of, user_vector
from stores.cache import Cache
from stores.documents import Documents
from stores.graph import Graph
from stores.metrics import EventRow, Metrics
from stores.records import Campaign, Record, Release, epoch_ms
from stores.settings import Settings
from stores.sql import open_engine
from stores.vectors import MessageVector, Vectors
from tests.seeding import event_row

DIMENSION = 384
TASTES = 40
CUSTOMERS_AT_ONCE = 500
MESSAGES, USERS, TEXTS = (f"{kind}_vectors_made_up_{DIMENSION}" for kind in ("message", "user", "campaign"))
WEIGHTS = EngagementWeights()


def fill(settings: Settings, *, customers: int, messages_each: int) -> None:
    """Fills Milvus, Neo4j and SQL. Customers have tastes, which their words and campaigns follow."""
    catalogue = [
        Campaign(campaign_id=f"c_{n:03d}", name=f"Week {n}", category=THINGS[n % len(THINGS)], group=f"g_{n % 5}") for n in range(CAMPAIGNS)
    ]
    vectors, graph, metrics = Vectors(settings), Graph(settings), Metrics(open_engine(settings))
    vectors.prepare(messages=MESSAGES, users=USERS, campaigns=TEXTS, dimension=DIMENSION)
    put_texts(vectors, catalogue)
    graph.prepare()
    graph.put_campaigns(catalogue)
    metrics.prepare()
    rows: list[EventRow] = []
    for batch in batches(customers, messages_each):
        put_vectors(vectors, batch)
        graph.put_customers([ties_of(user_id, said, weights=WEIGHTS) for user_id, said, _ in batch])
        rows += [event_row(each, WEIGHTS) for _, said, _ in batch for each in said]
    graph.refresh_attraction({each.campaign_id for each in catalogue})
    for name in (MESSAGES, USERS, TEXTS):
        vectors.settle(name)
    metrics.replace([(rows, catalogue)])
    for store in (vectors, graph, metrics):
        store.close()


Batch = list[tuple[str, list[Record], np.ndarray]]
"""Customers: the id, what they said, and the vectors of it, float32, (n, DIMENSION), rows of length 1."""


def batches(customers: int, messages_each: int) -> Iterator[Batch]:
    rng, directions = random.Random(1), np.random.default_rng(1)
    tastes = directions.normal(size=(TASTES, DIMENSION))
    for first in range(0, customers, CUSTOMERS_AT_ONCE):
        batch: Batch = []
        for number in range(first, min(customers, first + CUSTOMERS_AT_ONCE)):
            taste = rng.randrange(TASTES)
            noise = directions.normal(size=(messages_each, DIMENSION))
            spoken = (tastes[taste] + noise).astype(np.float32)
            spoken /= np.linalg.norm(spoken, axis=1, keepdims=True)
            batch.append((user_id(number), list(said(number, taste, messages_each, rng)), spoken))
        yield batch


def user_id(number: int) -> str:
    return f"u_{number:06d}"


def said(number: int, taste: int, count: int, rng: random.Random) -> Iterator[Record]:
    """A customer's messages: half of them name a campaign, mostly one of their taste."""
    for n in range(count):
        favourite = (taste * 5 + rng.randrange(5)) % CAMPAIGNS
        campaign = favourite if rng.random() < 0.8 else rng.randrange(CAMPAIGNS)
        yield Record(
            message_id=f"m_{number:06d}_{n}",
            user_id=user_id(number),
            timestamp_ms=epoch_ms(FIRST_DAY) + rng.randrange(20_000_000_000),
            event=rng.choice(("message", "message", "message", "click", "impression")),
            message="made up",
            campaign_id=f"c_{campaign:03d}" if rng.random() < 0.5 else None,
            intent=rng.choice(INTENTS),
        )


def put_vectors(vectors: Vectors, batch: Batch) -> None:
    spoken = [
        MessageVector(message_id=each.message_id, user_id=each.user_id, timestamp_ms=each.timestamp_ms, vector=vector)
        for _, records, rows in batch
        for each, vector in zip(records, rows, strict=True)
    ]
    vectors.upsert_messages(MESSAGES, spoken)
    at_ms = {user: np.array([each.timestamp_ms for each in records]) for user, records, _ in batch}
    vectors.upsert_users(USERS, {user: user_vector(rows, at_ms[user], 30.0) for user, _, rows in batch})


def put_texts(vectors: Vectors, catalogue: list[Campaign]) -> None:
    """Each campaign's own vector, in a direction of its own."""
    drawn = np.random.default_rng(2).normal(size=(len(catalogue), DIMENSION)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    vectors.upsert_campaigns(TEXTS, {each.campaign_id: vector for each, vector in zip(catalogue, drawn, strict=True)})


def released(settings: Settings) -> None:
    """Makes what the stores hold release 1. Idempotent."""
    made = Release(
        number=1,
        digest="d1",
        message_vectors=MESSAGES,
        user_vectors=USERS,
        campaign_vectors=TEXTS,
        model="made_up",
        dimension=DIMENSION,
        sequence=1,
    )
    documents, cache = Documents(settings), Cache(settings)
    documents.prepare()
    documents.put_release(made)
    cache.prepare()
    cache.publish(made)
    documents.close()
    cache.close()
