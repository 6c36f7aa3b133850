"""Answers for many customers at once, on running stores: each is what a single one would be."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from cli.main import main
from local.engines import ADDRESSES, RunningEngines
from local.processes import free_port
from stores.cache import Cache
from stores.settings import Settings
from tests.integration.test_feedback import event
from tests.seeding import HIKERS, NOW, SAILORS, records, release, seed, serving

pytestmark = pytest.mark.anyio
EVERYBODY = [*HIKERS, *SAILORS, "nobody", "u_001"]


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


async def asked(api: httpx.AsyncClient, user_ids: list[str], **fields: object) -> list[dict[str, object]]:
    answer = await api.post("/recommendations", json={"user_ids": user_ids} | fields)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    return answer.json()["answers"]


async def test_each_answer_is_the_one_that_a_single_question_gets(seeded: Settings) -> None:
    async with serving(seeded) as api:
        computed = await asked(api, EVERYBODY)
        cached = [(await api.get(f"/recommendations/{user_id}")).json() for user_id in EVERYBODY[:-1]]
        again = await asked(api, EVERYBODY)
        few = await asked(api, ["u_001", "u_007"], limit=1)
        singly = (await api.get("/recommendations/u_007?limit=1")).json()
    assert [line["user_id"] for line in computed] == EVERYBODY[:-1]
    assert {line["retrieval_source"] for line in computed} == {"computed"}
    assert [line | {"retrieval_source": "cache"} for line in computed] == cached == again
    assert few[1] | {"retrieval_source": "cache"} == singly


async def test_lines_come_one_by_one_where_they_are_asked_for(seeded: Settings) -> None:
    many = [f"stranger_{n}" for n in range(120)]
    question = {"user_ids": [*many, "u_001"], "limit": 2}
    accept = {"Accept": "application/x-ndjson"}
    async with serving(seeded) as api, api.stream("POST", "/recommendations", json=question, headers=accept) as answer:
        lines = [msgspec.json.decode(line) async for line in answer.aiter_lines()]
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    assert [line["user_id"] for line in lines] == question["user_ids"]
    assert all(len(line["recommendations"]) == 2 for line in lines)


async def test_what_was_posted_and_who_is_forgotten_count_as_in_a_single_answer(seeded: Settings) -> None:
    async with serving(seeded) as api:
        await asked(api, ["u_002", "u_003"])
        await api.post("/events", json=event("u_002", "dismissal", "c_101"))
        cache = Cache(seeded)
        cache.suppress("u_003")
        cache.close()
        after = await asked(api, ["u_002", "u_003"])
    assert "c_101" not in {each["campaign_id"] for each in after[0]["recommendations"]}
    assert all(each["reason"].startswith("We do not know you yet. ") for each in after[1]["recommendations"])


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"user_ids": []},
        {"user_ids": ["u"] * 501},
        {"user_ids": ["u"], "limit": 0},
        {"user_ids": ["u"], "top": 3},
    ],
)
async def test_a_question_that_cannot_be_answered_is_a_problem(seeded: Settings, question: dict[str, object]) -> None:
    async with serving(seeded) as api:
        answer = await api.post("/recommendations", json=question)
        broken = await api.post("/recommendations", content=b"{", headers={"Content-Type": "application/json"})
    for each in (answer, broken):
        assert (each.status_code, each.headers["Content-Type"]) == (400, "application/problem+json")


async def test_an_id_that_is_none_has_its_problem_and_the_others_their_answers(seeded: Settings) -> None:
    async with serving(seeded) as api:
        bad, good = await asked(api, ["no id", "u_001"])
    assert (bad["user_id"], bad["problem"]["status"], "recommendations" in bad) == ("no id", 400, False)
    assert good["recommendations"]


async def test_nothing_released_is_said_for_all(settings: Settings) -> None:
    async with serving(settings) as api:
        answer = await api.post("/recommendations", json={"user_ids": ["u_001"]})
    assert (answer.status_code, "no release yet" in answer.json()["detail"]) == (503, True)


async def test_without_a_store_each_line_says_what_a_single_answer_would(engines: RunningEngines, seeded: Settings) -> None:
    if set(engines.names) != set(ADDRESSES):
        pytest.skip("these servers were not started by the tests, which therefore may not kill them")
    async with serving(seeded) as api:
        whole = await asked(api, ["u_001"])
        engines.kill("milvus")
        without_milvus = await asked(api, ["u_001", "u_002"])
        engines.kill("neo4j")
        release(seeded, 2)
        without_neo4j = await asked(api, ["u_001", "u_002"])
    assert "degraded" not in without_milvus[0]
    assert without_milvus[1]["degraded"] == ["milvus"]
    assert (without_neo4j[0]["stale"], without_neo4j[0]["degraded"]) == (True, ["neo4j"])
    assert without_neo4j[0]["recommendations"] == whole[0]["recommendations"]
    assert list(without_neo4j[1]) == ["user_id", "problem"]
    assert (without_neo4j[1]["problem"]["status"], without_neo4j[1]["problem"]["store"]) == (503, "neo4j")


def test_the_command_fills_the_cache_for_the_most_active(seeded: Settings, environment: dict[str, str]) -> None:
    environment |= {"CAMPAIGNS_CLOCK_AT": NOW.isoformat(), "CAMPAIGNS_API_URL": f"http://127.0.0.1:{free_port()}"}
    with api_process(environment) as url:
        first, second = (CliRunner(env=environment).invoke(main, ["warm", "--customers", "3", "--json"]) for _ in range(2))
        hits = [
            httpx.get(f"{url}/recommendations/{user_id}", timeout=30).headers["X-Cache"] for user_id in ("u_002", "u_003", "u_004", "u_005")
        ]
    told = [msgspec.json.decode(run.stdout) for run in (first, second)]
    assert [(each["customers"], each["computed"], each["cached"], each["failed"]) for each in told] == [(3, 3, 0, 0), (3, 0, 3, 0)]
    assert hits == ["hit", "hit", "hit", "miss"]


@contextmanager
def api_process(environment: dict[str, str]) -> Iterator[str]:
    url = environment["CAMPAIGNS_API_URL"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-m", "retrieval"], env=os.environ | environment, **quiet) as running:
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    httpx.get(f"{url}/health/live", timeout=5)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield url
        finally:
            running.terminate()
