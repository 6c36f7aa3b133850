"""What the API's readers find in the stores is the evidence that ranking is told of."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import pytest

from local.engines import RunningEngines
from ranking.recommend import Tuning
from retrieval.generation import RECHECK_S, Generations
from stores.cache import CacheReader
from stores.documents import Documents, DocumentsReader
from stores.metrics import Metrics
from stores.settings import Settings
from stores.sql import open_engine
from stores.vectors import VectorsReader
from tests.seeding import CAMPAIGNS, NOW, records, release, seed, text_vector_of

pytestmark = pytest.mark.anyio


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


async def test_a_release_from_before_there_were_such_vectors_is_served_whole(seeded: Settings) -> None:
    older = msgspec.structs.replace(release(seeded, 2), number=3, campaign_vectors="")
    documents = Documents(seeded)
    documents.put_release(older)
    documents.close()
    async with generations_on(seeded) as generations:
        found = await generations.current(3)
    assert (found.release, found.lineup.catalogue.vectors, found.missing) == (older, {}, ())
