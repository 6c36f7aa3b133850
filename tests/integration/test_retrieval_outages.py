"""The API while stores are killed, hung and brought back: the table of retrieval.recommend, line by line."""

import asyncio
import time
from collections.abc import Callable

import httpx
import msgspec
import pytest
from redis import Redis
from sqlalchemy import text

from local.engines import ADDRESSES, RunningEngines
from local.stack import is_whole
from stores.cache import Cache
from stores.settings import Settings
from stores.sql import open_engine
from tests.seeding import CAMPAIGNS, NOW, NOW_MS, records, release, seed, serving

pytestmark = pytest.mark.anyio
WITHIN_S = 2.0
DOWN = ["kill", "pause"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def started_here(engines: RunningEngines) -> None:
    if set(engines.names) != set(ADDRESSES):
        pytest.skip("these servers were not started by the tests, which therefore may not kill them")


@pytest.fixture
def seeded(settings: Settings) -> Settings:
    """Full stores, release 1, and the timeouts that the API has by default."""
    defaults = Settings()
    timeouts = {name: getattr(defaults, name) for name in ("read_timeout_s", "cache_timeout_s", "answer_timeout_s")}
    clocked = msgspec.structs.replace(settings, clock_at=NOW, **timeouts)
    seed(clocked, records())
    release(clocked, 1)
    return clocked


async def asked(api: httpx.AsyncClient, path: str = "/recommendations/u_001") -> httpx.Response:
    """An answer, which came in time whatever it is."""
    started_at = time.monotonic()
    answer = await api.get(path)
    assert time.monotonic() - started_at < WITHIN_S
    return answer


def ids(answer: httpx.Response) -> list[str]:
    return [each["campaign_id"] for each in answer.json()["recommendations"]]


async def in_service(api: httpx.AsyncClient, path: str = "/recommendations/u_001") -> httpx.Response:
    """The first whole answer, or the last one within five seconds: it must come by itself, at the start and when a store is back."""
    return await first(api, path, lambda answer: is_whole(answer) and answer.headers["X-Cache"] in {"miss", "hit"}, within_s=5)


async def hit(api: httpx.AsyncClient) -> httpx.Response:
    """The first answer from the cache, or the last one of any kind within two seconds."""
    return await first(api, "/recommendations/u_001", lambda answer: answer.headers.get("X-Cache") == "hit", within_s=2)


async def first(api: httpx.AsyncClient, path: str, wanted: Callable[[httpx.Response], bool], *, within_s: float) -> httpx.Response:
    until = time.monotonic() + within_s
    while not wanted(answer := await asked(api, path)) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    return answer


@pytest.mark.parametrize("how", DOWN)
async def test_without_redis_answers_are_computed(engines: RunningEngines, seeded: Settings, how: str) -> None:
    async with serving(seeded) as api:
        whole = await in_service(api)
        getattr(engines, how)("redis")
        answers = [await asked(api), await asked(api)]
        engines.restore()
        after = await in_service(api, "/recommendations/u_002")
    assert whole.headers["X-Cache"] == "miss"
    for answer in answers:
        assert (answer.status_code, answer.headers["X-Cache"], answer.headers["X-Release"]) == (200, "bypass", "1")
        assert answer.json() == whole.json()
    assert after.headers["X-Cache"] == "miss"


async def test_without_redis_a_new_release_is_found_in_mongodb(engines: RunningEngines, seeded: Settings) -> None:
    async with serving(seeded) as api:
        await in_service(api)
        engines.kill("redis")
        await asked(api)
        release(seeded, 2, publish=False)
        time.sleep(1.1)
        answer = await asked(api)
    assert answer.headers["X-Release"] == "2"


async def test_what_redis_lost_is_given_back_to_it(seeded: Settings) -> None:
    with Redis.from_url(seeded.redis_url) as redis:
        async with serving(seeded) as api:
            await in_service(api)
            redis.flushdb()
            answers = [await asked(api), await asked(api)]
        assert redis.get("rec:release") == b"1"
    assert [each.headers["X-Cache"] for each in answers] == ["miss", "hit"]


async def test_a_redis_that_came_back_older_is_not_believed(seeded: Settings) -> None:
    release(seeded, 2)
    with Redis.from_url(seeded.redis_url) as redis:
        async with serving(seeded) as api:
            await in_service(api)
            redis.set("rec:release", 1)
            answer = await asked(api)
        assert redis.get("rec:release") == b"2"
    assert answer.headers["X-Release"] == "2"


@pytest.mark.parametrize("how", DOWN)
async def test_without_milvus_the_other_sources_answer_and_the_headers_say_so(engines: RunningEngines, seeded: Settings, how: str) -> None:
    async with serving(seeded) as api:
        await in_service(api, "/recommendations/u_002")
        getattr(engines, how)("milvus")
        answers = [await asked(api), await asked(api)]
        engines.restore()
        after = await in_service(api)
    for answer in answers:
        assert (answer.status_code, answer.headers["X-Degraded"], answer.headers["X-Cache"]) == (200, "milvus", "miss")
        assert sorted(ids(answer)) == ["c_101", "c_102", "c_103"]
        assert "talk like you" not in answer.text
    assert "talk like you" in after.text


@pytest.mark.parametrize("how", DOWN)
async def test_without_neo4j_nothing_new_is_said(engines: RunningEngines, seeded: Settings, how: str) -> None:
    async with serving(seeded) as api:
        await in_service(api, "/recommendations/u_002")
        getattr(engines, how)("neo4j")
        known, unknown = await asked(api), await asked(api, "/recommendations/nobody")
        engines.restore()
        after = await in_service(api)
    for answer in (known, unknown):
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert (answer.json()["store"], "neo4j" in answer.json()["detail"]) == ("neo4j", True)
        assert int(answer.headers["Retry-After"]) > 0
    assert after.status_code == 200


async def test_without_neo4j_an_older_answer_is_given_without_what_has_ended(engines: RunningEngines, seeded: Settings) -> None:
    async with serving(seeded) as api:
        whole, unasked = await in_service(api, "/recommendations/u_002"), "/recommendations/u_003"
        ended = [msgspec.structs.replace(each, ends_at_ms=NOW_MS) if each.campaign_id == "c_101" else each for each in CAMPAIGNS]
        seed(seeded, records(), campaigns=ended)
        release(seeded, 2)
        engines.kill("neo4j")
        await asked(api, unasked)
        answer = await asked(api, "/recommendations/u_002")
    assert (answer.status_code, answer.headers["X-Cache"], answer.headers["X-Release"]) == (200, "stale", "1")
    assert answer.headers["X-Degraded"] == "neo4j"
    assert ids(answer) == [each for each in ids(whole) if each != "c_101"]
    assert answer.json()["retrieval_source"] == "cache"


async def test_an_answer_from_before_the_customer_was_heard_of_again_is_not_given(engines: RunningEngines, seeded: Settings) -> None:
    async with serving(seeded) as api:
        await in_service(api)
        cache = Cache(seeded)
        cache.bump_user("u_001")
        cache.close()
        engines.kill("neo4j")
        answer = await asked(api)
    assert (answer.status_code, answer.json()["store"]) == (503, "neo4j")


@pytest.mark.parametrize("how", DOWN)
async def test_without_mongodb_cached_answers_go_on_and_computed_ones_say_so(engines: RunningEngines, seeded: Settings, how: str) -> None:
    async with serving(seeded) as api:
        whole = await in_service(api)
        other = await in_service(api, "/recommendations/u_002?limit=9")
        getattr(engines, how)("mongodb")
        cached, computed = await asked(api), await asked(api, "/recommendations/u_002")
        engines.restore()
        after = await in_service(api, "/recommendations/u_002?limit=8")
    assert (cached.headers["X-Cache"], ids(cached)) == ("hit", ids(whole))
    assert (computed.status_code, computed.headers["X-Cache"], computed.headers["X-Degraded"]) == (200, "miss", "mongodb")
    assert computed.json() == other.json()
    assert "X-Degraded" not in after.headers


def event(user_id: str, kind: str, campaign_id: str) -> list[dict[str, str]]:
    return [{"user_id": user_id, "event": kind, "campaign_id": campaign_id, "timestamp": "2026-05-31T12:00:00Z"}]


@pytest.mark.parametrize("how", DOWN)
async def test_without_mongodb_nobody_is_answered_past_what_they_said_last(engines: RunningEngines, seeded: Settings, how: str) -> None:
    async with serving(seeded) as api:
        before = await in_service(api)
        await api.post("/events", json=event("u_001", "dismissal", "c_101"))
        await asked(api, "/recommendations/u_001?limit=5")
        getattr(engines, how)("mongodb")
        kept, unknown = await asked(api, "/recommendations/u_001?limit=5"), await asked(api)
        refused = await api.post("/events", json=event("u_002", "dismissal", "c_101"))
        engines.restore()
        after = await in_service(api)
    assert "c_101" in ids(before)
    assert (kept.headers["X-Cache"], ids(kept).count("c_101")) == ("hit", 0)
    assert (unknown.status_code, unknown.json()["store"], int(unknown.headers["Retry-After"]) > 0) == (503, "mongodb", True)
    assert (refused.status_code, refused.json()["store"], int(refused.headers["Retry-After"]) > 0) == (503, "mongodb", True)
    assert (after.status_code, ids(after).count("c_101")) == (200, 0)


@pytest.mark.parametrize("how", DOWN)
async def test_an_event_that_redis_could_not_be_told_of_is_honoured_before_and_after_it_is_back(
    engines: RunningEngines, seeded: Settings, how: str
) -> None:
    async with serving(seeded) as api:
        before = [await in_service(api) for _ in range(2)]
        getattr(engines, how)("redis")
        said = await api.post("/events", json=event("u_001", "dismissal", "c_101"))
        meanwhile = await asked(api)
        engines.restore()
        after = [await in_service(api) for _ in range(2)]
    assert (before[1].headers["X-Cache"], ids(before[1]).count("c_101")) == ("hit", 1)
    assert (said.status_code, said.headers["X-Degraded"]) == (202, "redis")
    assert (meanwhile.headers["X-Cache"], [ids(answer).count("c_101") for answer in (meanwhile, *after)]) == ("bypass", [0, 0, 0])


async def test_a_redis_that_was_only_slow_is_believed_without_mongodb(engines: RunningEngines, seeded: Settings) -> None:
    async with serving(seeded) as api:
        before = [await in_service(api) for _ in range(2)]
        other = [await in_service(api, "/recommendations/u_002?limit=5") for _ in range(2)]
        engines.pause("redis")
        meanwhile = await asked(api)
        said = await api.post("/events", json=event("u_002", "dismissal", "c_101"))
        engines.pause("mongodb")
        engines.resume("redis")
        after = await hit(api)
        of_the_other = await asked(api, "/recommendations/u_002?limit=5")
    assert [each.headers["X-Cache"] for each in (before[1], other[1], meanwhile)] == ["hit", "hit", "bypass"]
    assert (after.headers["X-Cache"], ids(after)) == ("hit", ids(before[0]))
    assert (said.status_code, said.headers["X-Degraded"]) == (202, "redis")
    assert (of_the_other.status_code, of_the_other.json()["store"]) == (503, "mongodb")


async def test_a_redis_that_was_started_again_is_not_believed_without_mongodb(engines: RunningEngines, seeded: Settings) -> None:
    async with serving(seeded) as api:
        await in_service(api)
        engines.pause("mongodb")
        engines.kill("redis")
        await asked(api)
        engines.start("redis")
        after = await hit(api)
    assert (after.status_code, after.json()["store"]) == (503, "mongodb")


async def test_without_mongodb_the_release_in_memory_goes_on_being_served(engines: RunningEngines, seeded: Settings) -> None:
    async with serving(seeded) as api:
        await in_service(api)
        engines.kill("mongodb")
        with Redis.from_url(seeded.redis_url) as redis:
            redis.set("rec:release", 2)
            answers = [await asked(api, "/recommendations/u_002"), await asked(api, "/recommendations/u_002")]
            engines.restore()
            release(seeded, 2)
        after = await in_service(api, "/recommendations/u_002")
    for answer in answers:
        assert (answer.status_code, answer.headers["X-Release"], answer.headers["X-Degraded"]) == (200, "1", "mongodb")
        assert answer.headers["X-Cache"] == "miss"
    assert after.headers["X-Release"] == "2"


async def test_mongodbs_silence_is_waited_for_once(engines: RunningEngines, seeded: Settings) -> None:
    patient = msgspec.structs.replace(seeded, read_timeout_s=1.0, answer_timeout_s=1.8)
    async with serving(patient) as api:
        await in_service(api)
        engines.pause("mongodb")
        with Redis.from_url(patient.redis_url) as redis:
            redis.set("rec:release", 2)
            answer = await asked(api, "/recommendations/u_002")
    assert (answer.status_code, answer.headers["X-Degraded"]) == (200, "mongodb")


@pytest.mark.parametrize("how", DOWN)
async def test_without_mongodb_and_without_a_release_in_memory_the_problem_names_it(
    engines: RunningEngines, seeded: Settings, how: str
) -> None:
    getattr(engines, how)("mongodb")
    async with serving(seeded) as api:
        answer = await asked(api)
        engines.restore()
        after = await in_service(api)
    assert (answer.status_code, answer.json()["store"]) == (503, "mongodb")
    assert after.status_code == 200


async def test_without_sql_the_problem_names_it(seeded: Settings) -> None:
    nowhere = msgspec.structs.replace(seeded, sql_url="postgresql+psycopg://platform:secret@127.0.0.1:9/metrics")
    async with serving(nowhere) as api:
        answer = await asked(api)
    assert (answer.status_code, answer.json()["store"]) == (503, "sql")
    assert "secret" not in answer.text


async def test_without_sql_the_release_in_memory_goes_on_being_served(seeded: Settings) -> None:
    async with serving(seeded) as api:
        await in_service(api)
        engine = open_engine(seeded)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE campaigns"))
        engine.dispose()
        release(seeded, 2)
        answer = await asked(api)
    assert (answer.status_code, answer.headers["X-Release"], answer.headers["X-Degraded"]) == (200, "1", "sql")


@pytest.mark.parametrize(
    ("store", "status", "said"), [("redis", 200, "degraded"), ("milvus", 200, "degraded"), ("neo4j", 503, "unavailable")]
)
@pytest.mark.parametrize("how", DOWN)
async def test_health_tells_which_store_is_down(
    engines: RunningEngines, seeded: Settings, how: str, store: str, status: int, said: str
) -> None:
    async with serving(seeded) as api:
        getattr(engines, how)(store)
        answer = await asked(api, "/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (status, said)
    assert [each["store"] for each in answer.json()["stores"] if not each["reachable"]] == [store]


async def test_the_app_starts_and_tells_how_it_is_while_every_store_hangs(engines: RunningEngines, seeded: Settings) -> None:
    for name in ADDRESSES:
        engines.pause(name)
    async with serving(seeded) as api:
        live, ready, answer = await asked(api, "/health/live"), await asked(api, "/health/ready"), await asked(api)
        engines.restore()
        after = await in_service(api)
    assert (live.status_code, ready.status_code, ready.json()["release"]) == (200, 503, None)
    assert (answer.status_code, answer.json()["store"]) == (503, "mongodb")
    assert after.status_code == 200


async def test_beyond_its_bound_the_api_refuses_at_once_and_gives_what_it_holds(engines: RunningEngines, seeded: Settings) -> None:
    small = msgspec.structs.replace(seeded, max_concurrent_answers=2, max_waiting_answers=2)
    async with serving(small) as api:
        whole = await in_service(api, "/recommendations/u_001")
        release(small, 2)
        await asked(api, "/recommendations/u_002")
        engines.pause("neo4j")
        began_s = time.monotonic()
        holding = [asyncio.create_task(api.get(f"/recommendations/u_{n:03d}?limit=5")) for n in range(2, 6)]
        await asyncio.sleep(0.05)
        refused = [await api.get(f"/recommendations/u_{n:03d}?limit=5") for n in range(6, 10)]
        stale = await api.get("/recommendations/u_001")
        spent_s = time.monotonic() - began_s
        await asyncio.gather(*holding)
    assert spent_s < 0.05 + 5 * 0.05, "five answers, each in under 50 ms"
    for answer in refused:
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert "too many" in answer.json()["detail"]
        assert int(answer.headers["Retry-After"]) > 0
    assert (stale.status_code, stale.headers["X-Cache"], stale.headers["Cache-Control"]) == (200, "stale", "no-store")
    assert ids(stale) == ids(whole)
