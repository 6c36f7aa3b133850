"""The API on running stores: what it answers, what it refuses, what it caches."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import msgspec
import pytest
from redis import Redis

from local.processes import free_port
from ranking.model import RankingModel
from stores.cache import Cache, answer_key
from stores.documents import Documents
from stores.records import Campaign
from stores.settings import Settings
from tests.seeding import CAMPAIGNS, NOW, NOW_MS, records, release, seed, serving

pytestmark = pytest.mark.anyio
PROBLEM = "application/problem+json"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clocked(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, clock_at=NOW)


@pytest.fixture
def seeded(clocked: Settings) -> Settings:
    """Full stores and release 1."""
    seed(clocked, records())
    release(clocked, 1)
    return clocked


def ids(answer: httpx.Response) -> list[str]:
    return [each["campaign_id"] for each in answer.json()["recommendations"]]


async def test_the_first_answer_is_computed_and_the_second_comes_from_the_cache(seeded: Settings) -> None:
    async with serving(seeded) as api:
        first = await api.get("/recommendations/u_001")
        second = await api.get("/recommendations/u_001")
    assert (first.status_code, first.headers["X-Cache"], first.headers["X-Release"]) == (200, "miss", "1")
    assert (second.headers["X-Cache"], second.headers["Cache-Status"]) == ("hit", "redis; hit")
    assert first.headers["Content-Type"] == "application/json"
    assert "X-Degraded" not in first.headers
    assert first.json() | {"retrieval_source": "cache"} == second.json()
    assert list(first.json()) == ["user_id", "recommendations", "retrieval_source"]
    assert {tuple(each) for each in first.json()["recommendations"]} == {("campaign_id", "ranking_score", "reason")}
    assert (first.json()["user_id"], first.json()["retrieval_source"]) == ("u_001", "computed")


async def test_a_customer_gets_what_similar_customers_respond_to(seeded: Settings) -> None:
    async with serving(seeded) as api:
        hiker, sailor = await api.get("/recommendations/u_001"), await api.get("/recommendations/u_008")
    assert ids(hiker)[0] == "c_101"
    assert hiker.json()["recommendations"][0]["reason"] == "Customers who talk like you responded to Trail Days (5 of your 5 nearest)."
    assert ids(sailor)[0] == "c_102"
    scores = [each["ranking_score"] for each in hiker.json()["recommendations"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


async def test_only_what_may_be_offered_is_recommended(seeded: Settings) -> None:
    async with serving(seeded) as api:
        settled, other = await api.get("/recommendations/u_001"), await api.get("/recommendations/u_002")
    assert sorted(ids(settled)) == ["c_101", "c_102", "c_103"]  # without c_104 dismissed, c_105 ended, c_106 paused, c_107 converted
    assert sorted(ids(other)) == ["c_101", "c_102", "c_103", "c_104", "c_107"]  # c_103, converted, is repeatable


async def test_an_unknown_customer_gets_what_is_popular_and_is_told_so(seeded: Settings) -> None:
    async with serving(seeded) as api:
        answer = await api.get("/recommendations/nobody?limit=2")
        again = await api.get("/recommendations/nobody?limit=2")
    assert answer.status_code == 200
    assert len(ids(answer)) == 2
    assert all(each["reason"].startswith("We do not know you yet. ") for each in answer.json()["recommendations"])
    assert "popular" in answer.json()["recommendations"][0]["reason"]
    assert again.headers["X-Cache"] == "hit"


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/recommendations/%20", "user_id"),
        ("/recommendations/u'1", "user_id"),
        ("/recommendations/_u", "user_id"),
        ("/recommendations/u%0A", "user_id"),
        ("/recommendations/%C3%BC", "user_id"),
        ("/recommendations/" + "u" * 129, "user_id"),
        ("/recommendations/u_001?limit=0", "limit"),
        ("/recommendations/u_001?limit=101", "limit"),
        ("/recommendations/u_001?limit=ten", "limit"),
        ("/recommendations/u_001?limit=", "limit"),
        ("/recommendations/u_001?limit=1.5", "limit"),
        ("/recommendations/u_001?limit=1&limit=2", "limit"),
        ("/recommendations/u_001?explain=perhaps", "explain"),
        ("/recommendations/u_001?limt=3", "limt"),
        ("/recommendations/u_001?channel=", "channel"),
        ("/recommendations/u_001?channel=" + "x" * 129, "channel"),
        ("/recommendations/u_001?channel=%20", "channel"),
        ("/recommendations/u_001?channel=a%00b", "channel"),
        ("/recommendations/u_001?category=" + "%E0%A5%98" * 128, "category"),  # twice as long in the form that is kept
        ("/recommendations/u_001?category=", "category"),
        ("/recommendations/u_001?exclude=", "exclude"),
        ("/recommendations/u_001?exclude=c_1,,c_2", "exclude"),
        ("/recommendations/u_001?exclude=c_1%0A", "exclude"),
        ("/recommendations/u_001?exclude=" + ",".join(f"c_{n}" for n in range(101)), "exclude"),
        ("/recommendations/u_001/campaigns/_c", "campaign_id"),
        ("/recommendations/u_001/campaigns/c_101?limit=3", "limit"),
    ],
)
async def test_a_malformed_parameter_is_refused_by_name(clocked: Settings, path: str, parameter: str) -> None:
    async with serving(clocked) as api:
        answer = await api.get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, PROBLEM)
    problem = answer.json()
    assert parameter in problem["detail"]
    assert parameter in [error["key"] for error in problem["errors"]]
    assert (problem["status"], problem["title"]) == (400, "Bad Request")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("POST", "/recommendations/u_001", 405)])
async def test_what_is_not_there_is_a_problem_too(clocked: Settings, method: str, path: str, status: int) -> None:
    async with serving(clocked) as api:
        answer = await api.request(method, path)
    assert (answer.status_code, answer.headers["Content-Type"], answer.json()["status"]) == (status, PROBLEM, status)


async def test_before_the_first_release_there_is_no_answer(clocked: Settings) -> None:
    seed(clocked, records())
    async with serving(clocked) as api:
        answer = await api.get("/recommendations/u_001")
        release(clocked, 1)
        after = await api.get("/recommendations/u_001")
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, PROBLEM)
    assert "no release yet" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert after.status_code == 200


async def test_a_new_release_outdates_every_answer_at_once(seeded: Settings) -> None:
    async with serving(seeded) as api:
        await api.get("/recommendations/u_002")
        paused = [msgspec.structs.replace(each, status="paused") if each.campaign_id == "c_101" else each for each in CAMPAIGNS]
        seed(seeded, records(), campaigns=paused)
        release(seeded, 2)
        answer = await api.get("/recommendations/u_002")
    assert (answer.headers["X-Release"], answer.headers["X-Cache"]) == ("2", "miss")
    assert "c_101" not in ids(answer)


async def test_while_a_new_release_is_being_read_nobody_is_answered_from_the_one_before(seeded: Settings) -> None:
    async with serving(seeded) as api:
        await api.get("/recommendations/u_001")
        release(seeded, 2)
        answers = await asyncio.gather(*(api.get(f"/recommendations/u_{n:03d}") for n in range(1, 9)))
    assert {answer.headers["X-Release"] for answer in answers} == {"2"}


async def test_what_is_heard_of_a_customer_outdates_their_answers_only(seeded: Settings) -> None:
    async with serving(seeded) as api:
        for user_id in ("u_001", "u_002"):
            await api.get(f"/recommendations/{user_id}")
        cache = Cache(seeded)
        cache.bump_user("u_001")
        cache.close()
        answers = [await api.get(f"/recommendations/{user_id}") for user_id in ("u_001", "u_002", "u_001")]
    assert [each.headers["X-Cache"] for each in answers] == ["miss", "hit", "hit"]


async def test_an_answer_leaves_the_cache_when_the_next_campaign_starts_or_ends(seeded: Settings) -> None:
    async with serving(seeded) as api:
        await api.get("/recommendations/u_002")
    with Redis.from_url(seeded.redis_url) as redis:
        left_ms = redis.pttl(answer_key("u_002", "10"))
    assert 0 < left_ms <= 10_000  # c_107 ends ten seconds from now; the setting says an hour
    assert seeded.cache_ttl_s == 3600


@pytest.mark.parametrize(("leads", "at_most_s", "at_least_s"), [({"words": {"c_101": 1.0}}, 1800, 1), ({}, 3600, 3000)])
async def test_an_answer_made_inside_a_conversation_leaves_the_cache_when_that_is_over(
    settings: Settings, leads: dict[str, dict[str, float]], at_most_s: int, at_least_s: int
) -> None:
    """The customers have just spoken: a minute after the first of them."""
    talking = msgspec.structs.replace(settings, clock_at=NOW - timedelta(days=1) + timedelta(minutes=1))
    seed(talking, records())
    model = RankingModel(kind="linear", weights={"own_history.talk": 1.0}, leads=leads).versioned()
    documents, cache = Documents(talking), Cache(talking)
    documents.models.put(model.version, msgspec.json.encode(model).decode())
    made = msgspec.structs.replace(release(talking, 1, publish=False), number=2, ranking_model=model.version)
    documents.put_release(made)
    cache.publish(made)
    async with serving(talking) as api:
        await api.get("/recommendations/u_003")
    with Redis.from_url(talking.redis_url) as redis:
        left_s = redis.pttl(answer_key("u_003", "10")) / 1000
    assert at_least_s < left_s <= at_most_s
    documents.close()
    cache.close()


async def test_campaigns_end_without_any_release(settings: Settings) -> None:
    live = msgspec.structs.replace(settings, clock_at=None)
    ends_at_ms = live.now_ms + 4_000
    seed(live, records(), campaigns=[CAMPAIGNS[0], Campaign(campaign_id="c_102", name="Harbour Week", ends_at_ms=ends_at_ms)])
    release(live, 1)
    async with serving(live) as api:
        before = await api.get("/recommendations/u_001")
        assert live.now_ms < ends_at_ms, "this machine is too slow for this test"
        await asyncio.sleep((ends_at_ms - live.now_ms) / 1000 + 0.05)
        after = await api.get("/recommendations/u_001")
    assert sorted(ids(before)) == ["c_101", "c_102"]
    assert (ids(after), after.headers["X-Cache"]) == (["c_101"], "miss")


async def test_simultaneous_misses_of_one_customer_are_computed_once(seeded: Settings) -> None:
    with Redis.from_url(seeded.redis_url) as redis:
        async with serving(seeded) as api:
            start = sets(redis)
            await api.get("/recommendations/u_004")
            of_one = sets(redis) - start
            answers = await asyncio.gather(*(api.get("/recommendations/u_003") for _ in range(100)))
            assert sets(redis) - start == 2 * of_one
    assert of_one > 0
    assert len({answer.content.replace(b'"cache"', b'"computed"') for answer in answers}) == 1


def sets(redis: Redis) -> int:
    """How often anything was ever written to this Redis."""
    return redis.info("commandstats").get("cmdstat_set", {}).get("calls", 0)


async def test_explaining_tells_every_source_and_changes_no_ranking(seeded: Settings) -> None:
    async with serving(seeded) as api:
        explained = await api.get("/recommendations/u_001?explain=true")
        plain = await api.get("/recommendations/u_001?explain=false")
    assert (explained.headers["X-Cache"], plain.headers["X-Cache"]) == ("bypass", "miss")
    told = explained.json()
    assert told["known"] is True
    without = [{name: each[name] for name in ("campaign_id", "ranking_score", "reason")} for each in told["recommendations"]]
    assert without == plain.json()["recommendations"]
    best = told["recommendations"][0]
    places = {place["source"]: place for place in best["places"]}
    assert {"similar_customers", "graph", "engagement"} <= set(places)
    assert places["similar_customers"]["evidence"] == {"type": "similar_customers", "engaged": 5, "nearest": 5}
    assert sum(place["contribution"] for place in best["places"]) == pytest.approx(best["ranking_score"], abs=1e-5)


async def test_every_response_carries_the_security_headers(seeded: Settings) -> None:
    async with serving(seeded) as api:
        for path in ("/recommendations/u_001", "/recommendations/u_001?limit=0", "/nowhere", "/health/live"):
            assert (await api.get(path)).headers["X-Content-Type-Options"] == "nosniff"
        assert (await api.get("/recommendations/u_001")).headers["Cache-Control"] == "private, no-cache"


async def test_a_client_that_has_the_answer_is_not_sent_it_again(seeded: Settings) -> None:
    async with serving(seeded) as api:
        computed, cached = await api.get("/recommendations/u_001"), await api.get("/recommendations/u_001")
        tag = cached.headers["ETag"]
        same = [await api.get("/recommendations/u_001", headers={"If-None-Match": each}) for each in (tag, f'"other", {tag[2:]}', "*")]
        other = await api.get("/recommendations/u_001?limit=1", headers={"If-None-Match": tag})
        release(seeded, 2)
        after = await api.get("/recommendations/u_001", headers={"If-None-Match": tag})
    assert computed.headers["ETag"] == tag
    assert [(each.status_code, each.content, each.headers["ETag"], each.headers["X-Release"]) for each in same] == [
        (304, b"", tag, "1")
    ] * 3
    assert (other.status_code, after.status_code, after.headers["X-Release"]) == (200, 200, "2")


async def test_head_tells_the_headers_alone(seeded: Settings) -> None:
    async with serving(seeded) as api:
        await api.get("/recommendations/u_001")
        whole, head = await api.get("/recommendations/u_001"), await api.head("/recommendations/u_001")
    ignored = {"x-request-id"}
    assert (head.status_code, head.content) == (200, b"")
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {k: v for k, v in whole.headers.items() if k not in ignored}


async def test_past_the_router_and_through_it_the_answer_is_the_same(seeded: Settings) -> None:
    async with serving(seeded) as api:
        await api.get("/recommendations/u_001")
        short, routed = await api.get("/recommendations/u_001?limit=10"), await api.get("/recommendations/u_001?limit=10&explain=false")
    assert (short.status_code, short.content, short.headers["X-Cache"]) == (200, routed.content, "hit")
    assert {k: v for k, v in short.headers.items() if k != "x-request-id"} == {
        k: v for k, v in routed.headers.items() if k != "x-request-id"
    }


async def test_what_is_asked_is_counted_by_route_and_nobodys_id_is_told(seeded: Settings) -> None:
    async with serving(seeded) as api:
        for path in ("/recommendations/u_001", "/recommendations/u_001", "/recommendations/u_001?limit=x", "/nowhere/u_001"):
            await api.get(path)
        told = (await api.get("/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in told.splitlines() if not line.startswith("#"))
    route = "/recommendations/{user_id}"
    assert float(lines[f'campaigns_requests_total{{method="GET",route="{route}",status="200"}}']) == 2
    assert float(lines[f'campaigns_requests_total{{method="GET",route="{route}",status="400"}}']) == 1
    assert float(lines['campaigns_requests_total{method="GET",route="none",status="404"}']) == 1
    assert (float(lines['campaigns_answers_total{cache="miss"}']), float(lines['campaigns_answers_total{cache="hit"}'])) == (1, 1)
    assert float(lines['campaigns_stage_seconds_count{stage="around",store="neo4j"}']) == 1
    assert float(lines["campaigns_release"]) == 1
    assert "u_001" not in told


async def test_health_tells_of_each_store(seeded: Settings) -> None:
    async with serving(seeded) as api:
        live, ready = await api.get("/health/live"), await api.get("/health/ready")
    assert live.json() == {"status": "alive"}
    assert (ready.status_code, ready.json()["status"], ready.json()["release"]) == (200, "ready", 1)
    assert {each["store"]: each["reachable"] for each in ready.json()["stores"]} == dict.fromkeys(
        ("mongodb", "milvus", "neo4j", "redis", "sql"), True
    )


async def test_the_schema_says_what_is_answered_and_loads_nothing_from_elsewhere(clocked: Settings) -> None:
    async with serving(clocked) as api:
        schema = (await api.get("/openapi.json")).json()
    operation = schema["paths"]["/recommendations/{user_id}"]["get"]
    assert {"200", "400", "503"} <= set(operation["responses"])
    assert list(operation["responses"]["400"]["content"]) == [PROBLEM]
    assert {each["name"] for each in operation["parameters"]} == {"user_id", "limit", "explain", "channel", "category", "exclude"}
    assert {"Recommendations", "ExplainedRecommendations", "Problem"} <= set(schema["components"]["schemas"])


@contextmanager
def process(environment: dict[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "retrieval", "--port", str(port)],
        env=os.environ | environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as running:
        try:
            yield running
        finally:
            running.terminate()  # not killed: its worker would go on


def test_the_server_answers_on_loopback_and_ends_on_sigterm(environment: dict[str, str], seeded: Settings) -> None:
    port = free_port()
    with process(environment | {"CAMPAIGNS_CLOCK_AT": NOW.isoformat()}, port) as running:
        answer = None
        for _ in range(200):
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/recommendations/u_001", timeout=10)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert answer is not None
        assert (answer.status_code, ids(answer)[0]) == (200, "c_101")
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=15) == 0


def test_the_tests_clock_is_not_the_wall_clock(clocked: Settings) -> None:
    assert clocked.now_ms == NOW_MS
