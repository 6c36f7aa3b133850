"""What operators may ask of the API, and nobody else."""

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from cli.main import main
from retrieval.keys import drawn, entry_of
from stores.settings import Settings
from tests.integration.refreshing import CAMPAIGNS, RECORDS, load
from tests.integration.test_erasure import KEY, forget, known
from tests.integration.test_feedback import event
from tests.seeding import NOW, records, release, seed, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def seeded(settings: Settings) -> Settings:
    """Full stores, release 1, and a key for erasures."""
    clocked = replace(settings, clock_at=NOW, erasure_key=KEY)
    seed(clocked, records())
    release(clocked, 1)
    return clocked


@pytest.fixture
def loaded(settings: Settings) -> Settings:
    """Stores that a refresh has filled."""
    keyed = replace(settings, erasure_key=KEY)
    load(keyed, *CAMPAIGNS, *RECORDS)
    return keyed


async def test_a_customer_is_forgotten_by_a_request_and_the_proof_is_there_when_it_is_done(loaded: Settings) -> None:
    async with serving(loaded) as api:
        before = [await api.get("/recommendations/u_1") for _ in range(2)]
        await api.post("/events", json=event("u_1", "click", "c_boots"))
        nothing = await api.get("/users/u_1/erasure")
        asked = await api.delete("/users/u_1")
        after = await api.get("/recommendations/u_1")
        again = await api.delete("/users/u_1")
        status = await api.get(asked.headers["Location"])
    assert [known(answer) for answer in (*before, after)] == [True, True, False]
    assert (nothing.status_code, nothing.headers["Content-Type"]) == (404, "application/problem+json")
    assert (asked.status_code, asked.json()["status"], asked.headers["Location"]) == (202, "requested", "/users/u_1/erasure")
    assert again.json() == asked.json() == status.json()
    assert forget(loaded).success
    async with serving(loaded) as api:
        done = (await api.get("/users/u_1/erasure")).json()
        exported = (await api.get("/users/u_1/export")).json()
    assert (done["status"], done["mark"]) == ("done", asked.json()["mark"])
    assert done["places"]["mongodb intake"] == {"found": 1, "left": 0}
    assert {place["left"] for place in done["places"].values()} == {0}
    assert (exported["posted"], exported["ties"], exported["vectors"]) == ([], None, [])


async def test_what_is_exported_is_what_the_command_exports(seeded: Settings, environment: dict[str, str]) -> None:
    async with serving(seeded) as api:
        await api.get("/recommendations/u_001")
        await api.post("/events", json=event("u_001", "click", "c_101", message_id="e_1"))
        exported = await api.get("/users/u_001/export")
    printed = CliRunner(env=environment).invoke(main, ["export", "u_001"])
    assert exported.json() == msgspec.json.decode(printed.stdout)
    assert exported.headers["Cache-Control"] == "no-store"
    assert [each["message_id"] for each in exported.json()["posted"]] == ["e_1"]
    assert exported.json()["cached_answers"] == 1


async def test_releases_are_told_newest_first(seeded: Settings) -> None:
    release(seeded, 2)
    async with serving(seeded) as api:
        every, last = await api.get("/releases"), await api.get("/releases?limit=1")
    assert [each["number"] for each in every.json()["releases"]] == [2, 1]
    assert [each["number"] for each in last.json()["releases"]] == [2]


async def test_without_an_erasure_key_nobody_is_forgotten_and_the_setting_is_named(seeded: Settings) -> None:
    async with serving(replace(seeded, erasure_key="")) as api:
        answers = [await api.delete("/users/u_001"), await api.get("/users/u_001/erasure")]
        after = await api.get("/recommendations/u_001")
    for answer in answers:
        assert (answer.status_code, "CAMPAIGNS_ERASURE_KEY" in answer.json()["detail"]) == (409, True)
    assert known(after)


async def test_a_key_for_reading_reads_and_posts_and_does_nothing_of_an_operators(seeded: Settings) -> None:
    reading, operating = drawn(), drawn()
    keys = (entry_of(reading, name="shop", scope="read"), entry_of(operating, name="maria", scope="operator"))
    paths = [("DELETE", "/users/u_001"), ("GET", "/users/u_001/erasure"), ("GET", "/users/u_001/export"), ("GET", "/releases")]
    open_to_both = [("POST", "/events", event("u_001", "click", "c_101")), ("POST", "/recommendations", {"user_ids": ["u_002"]})]
    async with serving(replace(seeded, api_keys=keys)) as api:

        async def asked(method: str, path: str, key: str | None, body: object = None) -> httpx.Response:
            return await api.request(method, path, json=body, headers={"X-API-Key": key} if key else {})

        strangers = [(await asked(method, path, None)).status_code for method, path in paths]
        readers = [(await asked(method, path, reading)).status_code for method, path in paths]
        operators = [(await asked(method, path, operating)).status_code for method, path in paths]
        open_ones = [[(await asked(*each[:2], key, each[2])).status_code for each in open_to_both] for key in (None, reading, operating)]
    assert (strangers, readers, operators) == ([401] * 4, [403] * 4, [202, 200, 200, 200])
    assert open_ones == [[401, 401], [202, 200], [202, 200]]


async def test_an_export_fails_rather_than_leave_the_inbox_out(seeded: Settings) -> None:
    async with serving(replace(seeded, inbox_dir="/nowhere/inbox")) as api:
        answer = await api.get("/users/u_001/export")
    assert (answer.status_code, answer.json()["store"]) == (503, "inbox")
    assert "/nowhere" not in answer.text
