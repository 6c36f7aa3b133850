"""A small platform for the API's tests: every store filled by its own writing side, as the assets would, without running them."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import msgspec
import numpy as np

from ranking.engagement import EngagementWeights, ties_of, user_vector, weight_of
from retrieval.app import create_app
from stores.cache import Cache
from stores.documents import Documents
from stores.graph import Graph
from stores.metrics import EventRow, Metrics
from stores.records import Campaign, Record, Release, epoch_ms, iso
from stores.settings import Settings
from stores.sql import open_engine
from stores.vectors import Vectors

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOW_MS = epoch_ms(NOW)
DAY_MS = 86_400_000
MESSAGES, USERS, TEXTS = "message_vectors_tiny_4_t", "user_vectors_tiny_4_t", "campaign_vectors_tiny_4_t"

CAMPAIGNS = [
    Campaign(campaign_id="c_101", name="Trail Days", category="outdoor"),
    Campaign(campaign_id="c_102", name="Harbour Week", category="sea"),
    Campaign(campaign_id="c_103", name="Quiet Pages", category="reading", repeatable=True),
    Campaign(campaign_id="c_104", name="Warm Rooms", category="home"),
    Campaign(campaign_id="c_105", name="Last Season", category="outdoor", ends_at_ms=NOW_MS - DAY_MS),
    Campaign(campaign_id="c_106", name="On Hold", category="outdoor", status="paused"),
    Campaign(campaign_id="c_107", name="Short Notice", category="home", ends_at_ms=NOW_MS + 10_000),
]
HIKERS = [f"u_{n:03d}" for n in range(1, 7)]
SAILORS = [f"u_{n:03d}" for n in range(7, 13)]


def records() -> list[Record]:
    """Hikers respond to c_101, sailors to c_102; u_001, a hiker, has not yet, and has settled two campaigns."""
    said: list[Record] = []

    def add(user_id: str, event: str, campaign_id: str | None = None, intent: str | None = None) -> None:
        at_ms = NOW_MS - DAY_MS + len(said) * 1000
        fields = {"message_id": f"m_{len(said)}", "user_id": user_id, "timestamp_ms": at_ms, "event": event}
        said.append(msgspec.convert(fields | {"campaign_id": campaign_id, "intent": intent, "message": "words"}, Record))

    for user_id in HIKERS + SAILORS:
        hikes = user_id in HIKERS
        add(user_id, "message", intent="hiking" if hikes else "sailing")
        add(user_id, "impression", "c_101" if hikes else "c_102")
        if user_id != "u_001":
            add(user_id, "click", "c_101" if hikes else "c_102")
            add(user_id, "click", "c_105")
    add("u_001", "dismissal", "c_104")
    add("u_001", "conversion", "c_107", intent="purchase")
    add("u_002", "conversion", "c_103", intent="purchase")
    return said


def seed(settings: Settings, said: Iterable[Record], *, campaigns: Iterable[Campaign] = tuple(CAMPAIGNS)) -> None:
    """Fills Milvus, Neo4j and SQL with these records."""
    held, campaigns = list(said), list(campaigns)
    weights = EngagementWeights()
    of_user = {user_id: [each for each in held if each.user_id == user_id] for user_id in {each.user_id for each in held}}

    vectors = Vectors(settings)
    vectors.prepare(messages=MESSAGES, users=USERS, campaigns=TEXTS, dimension=4)
    vectors.upsert_users(USERS, {user_id: vector_of(user_id) for user_id in of_user})
    vectors.settle(USERS)
    vectors.upsert_campaigns(TEXTS, {each.campaign_id: text_vector_of(each) for each in campaigns})
    vectors.close()

    graph = Graph(settings)
    graph.prepare()
    graph.put_campaigns(campaigns)
    graph.put_customers([ties_of(user_id, theirs, weights=weights) for user_id, theirs in of_user.items()])
    graph.refresh_attraction({each.campaign_id for each in campaigns})
    graph.close()

    metrics = Metrics(open_engine(settings))
    metrics.prepare()
    metrics.put(rows=[event_row(each, weights) for each in held], catalogue=campaigns, gone=[], users=sorted(of_user))
    metrics.recount([each.campaign_id for each in campaigns])
    metrics.close()


def vector_of(user_id: str) -> np.ndarray:
    """Hikers near one direction, sailors near another, nobody quite like anybody else."""
    n = int(user_id[2:])
    angle = 0.05 * n
    ahead = np.array([[np.cos(angle), np.sin(angle), 0, 0] if user_id in HIKERS else [0, 0, np.cos(angle), np.sin(angle)]], np.float32)
    return user_vector(ahead, np.array([NOW_MS]), 30.0)


def text_vector_of(campaign: Campaign) -> np.ndarray:
    """A campaign of hikers, of sailors, or of neither, each a direction of its own."""
    axis = {"outdoor": 0, "sea": 2}.get(campaign.category or "", 1)
    return np.eye(4, dtype=np.float32)[axis]


def event_row(record: Record, weights: EngagementWeights) -> EventRow:
    return EventRow(
        key=record.key,
        user_id=record.user_id,
        at_ms=record.timestamp_ms,
        day=iso(record.timestamp_ms)[:10],
        event=record.event,
        weight=weight_of(record.event, record.intent, weights=weights),
        campaign_id=record.campaign_id,
        group=record.group,
        intent=record.intent,
    )


def release(settings: Settings, number: int, *, publish: bool = True) -> Release:
    """Makes this the current release, in MongoDB and, unless told otherwise, in Redis."""
    made = Release(
        number=number,
        digest=f"d{number}",
        message_vectors=MESSAGES,
        user_vectors=USERS,
        campaign_vectors=TEXTS,
        model="tiny",
        dimension=4,
        sequence=number,
    )
    documents = Documents(settings)
    documents.prepare()
    documents.put_release(made)
    documents.close()
    if publish:
        cache = Cache(settings)
        cache.publish(made)
        cache.close()
    return made


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The real app on these settings, and a client that speaks to it in this process."""
    app = create_app(settings)
    async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        yield client
