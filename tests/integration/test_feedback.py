"""Events posted to the API on running stores: what is taken, what is refused, what the next answer makes of it."""

import httpx
import msgspec
import pytest
from redis import Redis

from stores.cache import epoch_key
from stores.documents import Documents, DocumentsReader
from stores.settings import Settings
from tests.seeding import NOW, records, release, seed, serving

pytestmark = pytest.mark.anyio
PROBLEM = "application/problem+json"
AT = "2026-05-31T12:00:00Z"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def seeded(settings: Settings) -> Settings:
    """Full stores and release 1."""
    clocked = msgspec.structs.replace(settings, clock_at=NOW)
    seed(clocked, records())
    release(clocked, 1)
    return clocked


def event(user_id: str, kind: str, campaign_id: str | None, **fields: object) -> dict[str, object]:
    return {"user_id": user_id, "event": kind, "campaign_id": campaign_id, "timestamp": AT} | fields


def ids(answer: httpx.Response) -> list[str]:
    return [each["campaign_id"] for each in answer.json()["recommendations"]]


def kept(settings: Settings, user_id: str) -> list[str]:
    documents = Documents(settings)
    try:
        return documents.intake.of(user_id)
    finally:
        documents.close()


@pytest.mark.parametrize("kind", ["dismissal", "conversion"])
async def test_a_dismissal_or_a_conversion_is_honoured_by_the_very_next_answer(seeded: Settings, kind: str) -> None:
    async with serving(seeded) as api:
        before = [await api.get("/recommendations/u_001") for _ in range(2)]
        other = await api.get("/recommendations/u_002")
        said = await api.post("/events", json=[event("u_001", kind, "c_101")])
        after = [await api.get(f"/recommendations/u_001{query}") for query in ("", "", "?limit=2", "?explain=true")]
        other_after = await api.get("/recommendations/u_002")
    assert (said.status_code, said.json()["accepted"], said.json()["rejected"]) == (202, 1, 0)
    assert all("c_101" in ids(answer) for answer in before)
    assert not any("c_101" in ids(answer) for answer in after)
    assert [answer.headers["X-Cache"] for answer in after] == ["miss", "hit", "miss", "bypass"]
    assert {answer.headers["X-Release"] for answer in after} == {"1"}
    assert other_after.json() == other.json() | {"retrieval_source": "cache"}


async def test_a_customer_never_heard_of_is_honoured_too(seeded: Settings) -> None:
    async with serving(seeded) as api:
        before = await api.get("/recommendations/u_new")
        await api.post("/events", json=event("u_new", "dismissal", ids(before)[0]))
        after = await api.get("/recommendations/u_new")
    assert ids(before)[0] not in ids(after)
    assert len(ids(after)) == len(ids(before)) - 1


async def test_a_bad_event_never_rejects_the_others_and_is_told_why(seeded: Settings) -> None:
    posted = [
        event("u_001", "click", "c_101", message_id="e_1"),
        event("not an id", "click", "c_101"),
        event("u_001", "mailing", None, group="outdoor"),
        event("u_001", "dismissal", None),
        {"campaign_id": "c_1", "name": "A campaign"},
        {"message_id": "m_1", "deleted": True},
        "no object",
        event("u_001", "click", "c_101") | {"timestamp": "soon"},
        {"user_id": "u_002", "timestamp": AT, "message": "Which tent?"},
    ]
    async with serving(seeded) as api:
        answer = await api.post("/events", json={"events": posted})
    told = answer.json()
    assert (answer.status_code, told["accepted"], told["rejected"]) == (202, 2, 7)
    assert [each["status"] == "accepted" for each in told["events"]] == [n in (0, 8) for n in range(len(posted))]
    assert told["events"][0] == {"status": "accepted", "message_id": "e_1"}
    assert len(told["events"][8]["message_id"]) == 64
    reasons = [each.get("reason", "") for each in told["events"]]
    for n, word in enumerate(["", "user_id", "mailing", "campaign_id", "user_id", "user_id", "object", "timestamp", ""]):
        assert word in reasons[n]
    assert [len(kept(seeded, user_id)) for user_id in ("u_001", "u_002")] == [1, 1]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{broken", "JSON"),
        (b"", "JSON"),
        (b"7", "JSON"),
        (b'{"events": 1}', "JSON"),
        (b"[]", "0 events"),
        (b'{"events": []}', "0 events"),
        (b"[" + b",".join([b"{}"] * 1001) + b"]", "1001 events"),
    ],
)
async def test_a_body_that_cannot_be_split_into_events_is_a_problem(seeded: Settings, body: bytes, word: str) -> None:
    async with serving(seeded) as api:
        answer = await api.post("/events", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, PROBLEM)
    assert word in answer.json()["detail"]


async def test_a_body_that_is_too_large_is_refused(seeded: Settings) -> None:
    async with serving(seeded) as api:
        answer = await api.post("/events", content=b'[{"message": "' + b"x" * (3 * 1024 * 1024) + b'"}]')
    assert (answer.status_code, answer.headers["Content-Type"]) == (413, PROBLEM)


async def test_a_thousand_events_are_taken_at_once(seeded: Settings) -> None:
    posted = [event(f"u_{n % 300:03d}", "impression", "c_101", message_id=f"e_{n}") for n in range(1000)]
    async with serving(seeded) as api:
        answer = await api.post("/events", json=posted)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1000)
    assert len(kept(seeded, "u_007")) == 4


async def test_when_redis_has_lost_everything_nothing_becomes_wrong(seeded: Settings) -> None:
    async with serving(seeded) as api:
        await api.get("/recommendations/u_001")
        await api.post("/events", json=event("u_001", "dismissal", "c_101"))
        with Redis.from_url(seeded.redis_url) as redis:
            redis.flushdb()
            answers = [await api.get("/recommendations/u_001") for _ in range(2)]
    assert [ids(answer).count("c_101") for answer in answers] == [0, 0]


async def test_an_answer_that_redis_kept_while_it_could_not_be_told_is_not_given_later(seeded: Settings) -> None:
    """Redis refuses to write, as a full one does, and the event is posted; then it takes writes again, with the old answer in it."""
    async with serving(seeded) as api, serving(seeded) as another:
        before = [await api.get("/recommendations/u_001") for _ in range(2)]
        with Redis.from_url(seeded.redis_url) as redis:
            redis.config_set("maxmemory", 1)
            try:
                said = await api.post("/events", json=event("u_001", "dismissal", "c_101"))
                meanwhile = await api.get("/recommendations/u_001")
            finally:
                redis.config_set("maxmemory", 0)
            after = await api.get("/recommendations/u_001")
            assert int(redis.get(epoch_key("u_001"))) % 2 == 1
            elsewhere = await another.get("/recommendations/u_001")
    assert before[1].headers["X-Cache"] == "hit"
    assert (said.status_code, said.headers["X-Degraded"]) == (202, "redis")
    assert (meanwhile.headers["X-Cache"], ids(meanwhile).count("c_101")) == ("bypass", 0)
    assert [ids(answer).count("c_101") for answer in (after, elsewhere)] == [0, 0]


async def test_a_process_that_died_before_it_told_redis_is_made_good_by_the_next(seeded: Settings) -> None:
    async with serving(seeded) as api:
        before = [await api.get("/recommendations/u_001") for _ in range(2)]
    documents = DocumentsReader(seeded)
    await documents.postings.put(["u_001"], [msgspec.json.encode(event("u_001", "dismissal", "c_101")).decode()])
    await documents.close()
    async with serving(seeded) as api:
        after = await api.get("/recommendations/u_001")
    assert (before[1].headers["X-Cache"], ids(before[1]).count("c_101")) == ("hit", 1)
    assert (after.headers["X-Cache"], ids(after).count("c_101")) == ("miss", 0)
