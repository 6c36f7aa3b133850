"""Several processes on one Redis, as several services in this one: an answer that many wait for is computed once among them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from msgspec.structs import replace
from redis import Redis

from stores.cache import lease_key
from stores.evidence import Surroundings
from stores.graph import GraphReader
from stores.settings import Settings
from tests.seeding import NOW, records, release, seed, serving

pytestmark = pytest.mark.anyio
PROCESSES = 4


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def seeded(settings: Settings) -> Settings:
    """Full stores and release 1."""
    clocked = replace(settings, clock_at=NOW)
    seed(clocked, records())
    release(clocked, 1)
    return clocked


@asynccontextmanager
async def several(settings: Settings) -> AsyncIterator[list[httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(settings)) for _ in range(PROCESSES)]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The customers that Neo4j was asked about, which every computation does once; each question takes a while."""
    asked: list[str] = []
    around = GraphReader.around

    async def counted(self: GraphReader, user_id: str, neighbour_ids: Sequence[str], *, limit: int) -> Surroundings:
        if user_id != "nobody":
            asked.append(user_id)
            await asyncio.sleep(0.1)
        return await around(self, user_id, neighbour_ids, limit=limit)

    monkeypatch.setattr(GraphReader, "around", counted)
    return asked


async def test_two_hundred_misses_of_one_customer_in_several_processes_are_computed_once(seeded: Settings, computed: list[str]) -> None:
    async with several(seeded) as apis:
        answers = await asyncio.gather(*(apis[n % PROCESSES].get("/recommendations/u_003") for n in range(200)))
        with Redis.from_url(seeded.redis_url) as redis:
            assert redis.exists(lease_key("u_003", "10")) == 0
    assert computed == ["u_003"]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["X-Cache"] for answer in answers} == {"miss", "hit"}
    assert len({answer.content.replace(b'"cache"', b'"computed"') for answer in answers}) == 1


async def test_while_redis_is_down_each_process_computes_once(seeded: Settings, computed: list[str]) -> None:
    async with several(replace(seeded, redis_url="redis://127.0.0.1:9/0")) as apis:
        answers = await asyncio.gather(*(apis[n % PROCESSES].get("/recommendations/u_003") for n in range(200)))
    assert computed == ["u_003"] * PROCESSES
    assert {answer.headers["X-Cache"] for answer in answers} == {"bypass"}


async def test_a_process_that_dies_while_it_computes_keeps_the_others_waiting_only_for_a_moment(
    seeded: Settings, computed: list[str]
) -> None:
    async with serving(replace(seeded, answer_timeout_s=1.0)) as api:
        with Redis.from_url(seeded.redis_url) as redis:
            redis.set(lease_key("u_003", "10"), b"", px=60_000)
        answer = await asyncio.wait_for(api.get("/recommendations/u_003"), 2)
    assert (answer.status_code, answer.headers["X-Cache"], computed) == (200, "miss", ["u_003"])


async def test_a_computation_that_fails_lets_the_next_one_try_at_once(seeded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(seeded) as api:
        with monkeypatch.context() as broken:
            broken.setattr("retrieval.recommend.recommend", fail)
            failed = await api.get("/recommendations/u_003")
        with Redis.from_url(seeded.redis_url) as redis:
            assert redis.exists(lease_key("u_003", "10")) == 0
        answer = await api.get("/recommendations/u_003")
    assert (failed.status_code, answer.status_code) == (500, 200)


def fail(*_: object, **__: object) -> None:
    raise ValueError("a fault of ours")
