"""What the API's readers find in the stores is the evidence that ranking is told of."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import pytest

from local.engines import RunningEngines
from platform_assets.assets.embeddings import text_of
from platform_assets.learning import extent_of
from ranking.known import Conditions
from ranking.past import Past
from ranking.recommend import Customer, Tuning
from retrieval.generation import RECHECK_S, Generations
from stores.cache import CacheReader
from stores.documents import Documents, DocumentsReader
from stores.evidence import CAMPAIGNS_EACH
from stores.graph import GraphReader
from stores.metrics import Metrics
from stores.records import iso
from stores.settings import Settings
from stores.sql import open_engine
from stores.vectors import VectorsReader
from tests.integration.refreshing import drop, opened, refresh
from tests.seeding import CAMPAIGNS, DAY_MS, NOW, NOW_MS, records, release, seed, text_vector_of

pytestmark = pytest.mark.anyio
SHOP = [
    {"campaign_id": f"c_{n}", "name": name, "category": category, "group": f"g_{n % 2}", "description": description}
    for n, (name, category, description) in enumerate(
        [
            ("Tent Week", "camping", "Tents for two in heavy rain"),
            ("Boot Fitting", "footwear", "Boots that do not rub"),
            ("Garden Lamps", "garden", "Light for long evenings"),
            ("Rain Jackets", "clothing", "Dry in every weather"),
            ("Camp Kitchen", "camping", "Stoves and pans"),
        ]
    )
]
TEXTS_SAID = [
    "I need a tent for heavy rain",
    "My boots rub at the heel",
    "Long evenings, garden lamps",
    "Which stove for two?",
    "Thank you!",
]
EVENTS = ["message", "message", "message", "click", "click", "conversion", "impression", "dismissal", "mailing"]
CUSTOMERS = [f"u_{n}" for n in range(9)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def seeded(settings: Settings) -> Settings:
    clocked = msgspec.structs.replace(settings, clock_at=NOW)
    seed(clocked, records())
    release(clocked, 1)
    return clocked


@asynccontextmanager
async def generations_on(settings: Settings) -> AsyncIterator[Generations]:
    documents, cache, vectors, metrics = (
        DocumentsReader(settings),
        CacheReader(settings),
        VectorsReader(settings),
        Metrics(open_engine(settings)),
    )
    generations = Generations(documents=documents, cache=cache, metrics=metrics, vectors=vectors, settings=settings, tuning=Tuning())
    try:
        yield generations
    finally:
        await generations.close()
        for store in (documents, cache, vectors):
            await store.close()
        metrics.close()


async def test_the_vectors_of_the_campaigns_are_read_once_a_release(seeded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    read, calls = VectorsReader.campaign_vectors, []

    async def counted(self, name, campaign_ids):
        calls.append(name)
        return await read(self, name, campaign_ids)

    monkeypatch.setattr(VectorsReader, "campaign_vectors", counted)
    async with generations_on(seeded) as generations:
        for number in (1, 1, 1, 2, 2):
            release(seeded, number)
            held = await generations.current(number)
            assert held.release.number == number
        found = held.lineup.catalogue.vectors
    assert len(calls) == 2
    assert found.keys() == {each.campaign_id for each in CAMPAIGNS}
    assert all(np.array_equal(found[each.campaign_id], text_vector_of(each)) for each in CAMPAIGNS)


async def test_without_milvus_a_release_is_served_without_them_and_they_come_later_by_themselves(
    engines: RunningEngines, seeded: Settings
) -> None:
    hasty = msgspec.structs.replace(seeded, read_timeout_s=1.0)
    async with generations_on(hasty) as generations:
        engines.kill("milvus")
        without, again = await generations.current(1), await generations.current(1)
        engines.restore()
        until = time.monotonic() + 10 * RECHECK_S
        while (found := await generations.current(1)).missing and time.monotonic() < until:
            time.sleep(RECHECK_S / 5)
    for each in (without, again):
        assert (each.release.number, each.lineup.catalogue.vectors, each.missing) == (1, {}, ("milvus",))
    assert found.missing == ()
    assert found.lineup.catalogue.vectors.keys() == {each.campaign_id for each in CAMPAIGNS}


async def test_a_store_that_is_back_is_not_called_missing_although_no_newer_release_comes(
    engines: RunningEngines, seeded: Settings
) -> None:
    hasty = msgspec.structs.replace(seeded, read_timeout_s=1.0)
    async with generations_on(hasty) as generations:
        await generations.current(1)
        engines.kill("mongodb")
        without = await generations.current(None)
        engines.restore()
        after = await generations.current(1)
    assert (without.release.number, without.missing) == (1, ("mongodb",))
    assert (after.release.number, after.missing) == (1, ())


async def test_a_release_from_before_there_were_such_vectors_is_served_whole(seeded: Settings) -> None:
    older = msgspec.structs.replace(release(seeded, 2), number=3, campaign_vectors="")
    documents = Documents(seeded)
    documents.put_release(older)
    documents.close()
    async with generations_on(seeded) as generations:
        found = await generations.current(3)
    assert (found.release, found.lineup.catalogue.vectors, found.missing) == (older, {}, ())


def history(*, seed: int, count: int) -> list[dict[str, object]]:
    """Records of every kind, of customers who say few different things, so that ties are many."""
    draw = random.Random(seed)

    def record(number: int) -> dict[str, object]:
        event = draw.choice(EVENTS)
        fields: dict[str, object] = {"message_id": f"m_{number}", "user_id": draw.choice(CUSTOMERS), "event": event}
        fields["timestamp"] = iso(NOW_MS - (count - number) * DAY_MS // 3)
        fields |= {"message": draw.choice(TEXTS_SAID), "role": draw.choice(["customer"] * 5 + ["agent"])} if event == "message" else {}
        fields |= {"group": draw.choice(["g_0", "g_1"])} if event == "mailing" else {"campaign_id": draw.choice(SHOP)["campaign_id"]}
        fields |= {"channel": draw.choice(["app", "web"])} if draw.random() < 0.7 else {}
        return fields | ({"intent": draw.choice(["interest", "purchase", "support"])} if draw.random() < 0.7 else {})

    return [record(number) for number in range(count)]


def past_of(settings: Settings) -> Past:
    """All that the records say, made in memory by the functions of the assets."""
    stores = opened(settings)
    try:
        users = stores.documents.records_of(stores.ledger.owners("raw_docs"))
        said, campaigns = [record for records in users.values() for record in records], stores.documents.campaigns()
        texts = {text for entry in (*said, *campaigns) if (text := text_of(entry)) is not None}
        found = stores.documents.embeddings(map(stores.embedder.key, texts))
        vectors = {text: found[stores.embedder.key(text)] for text in texts}
        conditions = Conditions(weights=stores.weights, neighbours=settings.neighbours)
        return Past(said, campaigns, vectors, conditions=conditions)
    finally:
        stores.close()


async def read_by_the_api(settings: Settings, user_id: str, collection: str) -> Customer:
    """A customer as the API's readers find them: two calls to Milvus, one to Neo4j."""
    vectors, graph = VectorsReader(settings), GraphReader(settings)
    try:
        vector = await vectors.user_vector(collection, user_id)
        nearest = [] if vector is None else await vectors.similar_users(collection, vector, limit=settings.neighbours + 1)
        near = [each for each in nearest if each.user_id != user_id]
        around = await graph.around(user_id, [each.user_id for each in near], limit=CAMPAIGNS_EACH)
        return Customer(user_id=user_id, known=around.known or vector is not None, vector=vector, neighbours=near, surroundings=around)
    finally:
        await vectors.close()
        await graph.close()


def comparable(customer: Customer) -> dict[str, object]:
    """What must be equal to the last digit, without the order that does not count."""
    around = customer.surroundings
    told = {field: set(getattr(around, field)) for field in ("neighbours", "co_engaged", "intents")}
    near = {each.user_id for each in customer.neighbours}
    said = {
        "own": around.own,
        "words": around.words,
        "channels": around.channels,
        "expressed": around.expressed,
        "known": (customer.known, around.known),
    }
    return told | said | {"near": near, "vector": customer.vector is not None}


async def test_evidence_made_in_memory_is_what_the_apis_readers_find_in_the_stores(settings: Settings) -> None:
    settings = msgspec.structs.replace(settings, clock_at=NOW)
    drop(settings, *SHOP, *history(seed=4, count=160))
    assert (await asyncio.to_thread(refresh, settings)).success
    past = past_of(settings)
    past.advance(NOW_MS)
    assert past.extent() == extent_of(opened(settings))
    async with generations_on(settings) as generations:
        held = await generations.current(None)
    for user_id in [*CUSTOMERS, "nobody"]:
        found, made = await read_by_the_api(settings, user_id, held.release.user_vectors), past.customer(user_id)
        assert comparable(found) == comparable(made), user_id
        if found.vector is not None and made.vector is not None:
            np.testing.assert_allclose(found.vector, made.vector, atol=1e-5)
        alike = {each.user_id: each.similarity for each in made.neighbours}
        assert [each.similarity for each in found.neighbours] == pytest.approx([alike[each.user_id] for each in found.neighbours], abs=1e-5)
    stored, counted = held.lineup.catalogue, past.catalogue()
    assert (stored.campaigns, stored.figures, stored.newest_ms) == (counted.campaigns, counted.figures, counted.newest_ms)
    assert set(stored.days) == set(counted.days)
    assert stored.vectors.keys() == counted.vectors.keys() == {campaign["campaign_id"] for campaign in SHOP}
    for campaign_id, vector in stored.vectors.items():
        np.testing.assert_allclose(vector, counted.vectors[campaign_id], atol=1e-5)
