"""The marketer's rules through the API: enforced on computed, cached and stale answers, and told by why-not and explain."""

from collections.abc import Sequence

import httpx
import pytest
from msgspec.structs import replace
from redis import Redis

from local.engines import RunningEngines
from retrieval.explaining import Reveal
from stores.cache import Cache, answer_key
from stores.records import Audience, Campaign, Cap, Hours, Profile, Record, Rules
from stores.settings import BadSetting, Settings
from tests.claims import Claims
from tests.seeding import CAMPAIGNS, DAY_MS, NOW, NOW_MS, records, release, seed, serving

pytestmark = pytest.mark.anyio
HOUR_MS = 3_600_000
SALT = "a secret of some length"
OFFICE = Hours(zone="Europe/Berlin", opens_minute=9 * 60, closes_minute=17 * 60)
RULED = [
    Campaign(campaign_id="c_201", name="Letters", channels=("email",), rules=Rules(requires_consent=("email",))),
    Campaign(campaign_id="c_202", name="For Members", category="home", rules=Rules(audience=Audience(attributes={"tier": ("gold",)}))),
    Campaign(campaign_id="c_203", name="Mailed Only", rules=Rules(audience=Audience(group="spring"))),
    Campaign(campaign_id="c_204", name="Twice a Day", channels=("web", "sms"), rules=Rules(caps=(Cap(impressions=2, period_hours=24),))),
    Campaign(campaign_id="c_205", name="Never", rules=Rules(caps=(Cap(impressions=0, period_hours=1),))),
    Campaign(
        campaign_id="c_206", name="Office Hours", rules=Rules(hours=Hours(zone="Europe/Berlin", opens_minute=540, closes_minute=1020))
    ),
    Campaign(campaign_id="c_207", name="Next Month", starts_at_ms=NOW_MS + 30 * DAY_MS),
    Campaign(campaign_id="c_299", name="Gift Card", rules=Rules(fallback=True)),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clocked(settings: Settings) -> Settings:
    return replace(settings, clock_at=NOW)


def said(n: int, user_id: str, event: str, *, at_ms: int = NOW_MS - DAY_MS, **fields: object) -> Record:
    return Record(message_id=f"r_{n}", user_id=user_id, timestamp_ms=at_ms, event=event, **fields)  # type: ignore[arg-type]


def stated(n: int, user_id: str, **profile: object) -> Record:
    return said(n, user_id, "profile", profile=Profile(**profile))  # type: ignore[arg-type]


WELCOME = [
    stated(1, "u_002", consent={"email": True}, attributes={"tier": "gold"}),
    said(2, "u_002", "mailing", group="spring"),
    said(3, "u_002", "impression", campaign_id="c_204", at_ms=NOW_MS - 23 * HOUR_MS),
    stated(4, "u_003", suppressed=True),
    said(5, "u_004", "impression", campaign_id="c_204", at_ms=NOW_MS - 2 * HOUR_MS),
    said(6, "u_004", "impression", campaign_id="c_204", at_ms=NOW_MS - HOUR_MS),
]
"""u_002 may be offered everything that the rules allow anybody, u_003 nothing, u_004 has seen c_204 often enough."""


def start(settings: Settings, more: Sequence[Record] = (), campaigns: Sequence[Campaign] = (*CAMPAIGNS[:4], *RULED)) -> None:
    seed(settings, [*records(), *WELCOME, *more], campaigns=campaigns)
    release(settings, 1)


def ids(answer: httpx.Response) -> set[str]:
    return {each["campaign_id"] for each in answer.json()["recommendations"]}


async def offered(api: httpx.AsyncClient, user_id: str, query: str = "") -> set[str]:
    return ids(await api.get(f"/recommendations/{user_id}{query}"))


async def test_each_customer_is_offered_what_the_rules_allow(clocked: Settings) -> None:
    start(clocked)
    everybodys = {"c_101", "c_102", "c_103", "c_104"}
    async with serving(clocked) as api:
        assert await offered(api, "u_002") == everybodys | {"c_201", "c_202", "c_203", "c_204"}
        assert await offered(api, "u_003") == set()
        assert await offered(api, "u_004") == everybodys
        assert await offered(api, "nobody") == everybodys | {"c_204"}  # of whom nothing is known


async def test_a_request_narrows_the_answer_and_each_question_is_cached_by_itself(clocked: Settings) -> None:
    start(clocked)
    async with serving(clocked) as api:
        assert await offered(api, "u_002", "?channel=sms") == {"c_101", "c_102", "c_103", "c_104", "c_202", "c_203", "c_204"}
        assert await offered(api, "u_002", "?category=home") == {"c_104", "c_202"}
        assert await offered(api, "u_002", "?category=home&exclude=c_202,c_101") == {"c_104"}
        assert await offered(api, "u_002", "?category=home&exclude=c_202,c_104") == set()
        again = await api.get("/recommendations/u_002?exclude=c_101,c_202,c_101&category=home")
        other = await api.get("/recommendations/u_002?category=Home")
    assert (again.headers["X-Cache"], ids(again)) == ("hit", {"c_104"})
    assert (other.headers["X-Cache"], ids(other)) == ("miss", set())


async def test_a_fallback_is_given_where_nothing_else_may_be(clocked: Settings) -> None:
    start(clocked, campaigns=(RULED[0], RULED[4], RULED[7]))
    async with serving(clocked) as api:
        computed, cached = await api.get("/recommendations/u_004"), await api.get("/recommendations/u_004")
        assert await offered(api, "u_002") == {"c_201"}
        assert await offered(api, "u_003") == set()
        assert await offered(api, "u_004", "?exclude=c_299") == set()
        assert (await why(api, "u_002", "c_299"))["standing"] == "held_back"
        assert (await why(api, "u_004", "c_299"))["rank"] == 1
    assert ids(computed) == ids(cached) == {"c_299"}
    assert computed.json()["recommendations"][0]["ranking_score"] == 0.0
    assert cached.headers["X-Cache"] == "hit"


def left_ms(settings: Settings, user_id: str, query: str = "10") -> int:
    with Redis.from_url(settings.redis_url) as redis:
        return redis.pttl(answer_key(user_id, query))


async def test_an_answer_leaves_the_cache_when_a_cap_is_over_or_hours_open(clocked: Settings) -> None:
    soon = said(7, "u_005", "impression", campaign_id="c_204", at_ms=NOW_MS - 24 * HOUR_MS + 60_000)
    start(clocked, [soon, said(8, "u_005", "impression", campaign_id="c_204", at_ms=NOW_MS)])
    late = replace(clocked, clock_at=NOW.replace(hour=6, minute=58), cache_ttl_s=36_000)
    async with serving(clocked) as api, serving(late) as later:
        await offered(api, "u_005")
        await offered(api, "u_004")
        assert "c_206" not in await offered(later, "u_006")
    assert 0 < left_ms(clocked, "u_005") <= 60_000  # one of two impressions is forgotten a minute from now
    assert 60_000 < left_ms(clocked, "u_004") <= 3_600_000
    assert 0 < left_ms(clocked, "u_006") <= 120_000  # 09:00 in Berlin


async def test_hours_open_and_close_without_any_release(clocked: Settings) -> None:
    start(clocked)
    for hour, minute, is_open in ((6, 59, False), (7, 0, True), (14, 59, True), (15, 0, False)):
        async with serving(replace(clocked, clock_at=NOW.replace(hour=hour, minute=minute))) as api:
            assert ((await why(api, "nobody", "c_206"))["standing"] != "removed") is is_open


async def test_an_answer_under_another_holdout_group_or_overall_cap_is_another(clocked: Settings) -> None:
    start(clocked)
    everybody = replace(clocked, holdout_share=1.0, holdout_salt=SALT)
    capped = replace(clocked, overall_cap_impressions=2)
    async with serving(clocked) as api:
        before = await api.get("/recommendations/u_004")
    async with serving(everybody) as api:
        held, again = await api.get("/recommendations/u_004"), await api.get("/recommendations/u_004")
        explained = (await api.get("/recommendations/u_004?explain=true")).json()
    async with serving(capped) as api:
        refused = await api.get("/recommendations/u_004")
        told = await why(api, "u_004", "c_101")
    assert "X-Holdout" not in before.headers
    assert [(each.headers["X-Cache"], each.headers["X-Holdout"]) for each in (held, again)] == [("miss", "true"), ("hit", "true")]
    assert ids(held) == ids(before)  # the same rules
    assert all("popular" in each["reason"] or "nobody" in each["reason"] for each in held.json()["recommendations"])
    assert not all("popular" in each["reason"] or "nobody" in each["reason"] for each in before.json()["recommendations"])
    assert explained["holdout"] is True
    assert (refused.headers["X-Cache"], ids(refused)) == ("miss", set())
    assert [(each["rule"], each["seen"], each["allowed"]) for each in told["rules"]] == [("overall_cap_reached", 3, 2)]


async def test_a_holdout_group_without_a_secret_is_refused_at_the_start(clocked: Settings) -> None:
    with pytest.raises(BadSetting, match="CAMPAIGNS_HOLDOUT_SALT"):
        async with serving(replace(clocked, holdout_share=0.1, holdout_salt="short")):
            pass


async def why(api: httpx.AsyncClient, user_id: str, campaign_id: str, query: str = "") -> dict:
    answer = await api.get(f"/recommendations/{user_id}/campaigns/{campaign_id}{query}")
    assert answer.status_code == 200
    return answer.json()


async def test_why_not_names_each_rule_with_its_moment_or_number(clocked: Settings) -> None:
    start(clocked, campaigns=(*CAMPAIGNS, *RULED))
    expected = {
        ("u_001", "c_104", ""): ("dismissed", "The customer dismissed Warm Rooms on 2026-05-31T00:00:46Z."),
        ("u_001", "c_107", ""): (
            "converted",
            "The customer converted on Short Notice on 2026-05-31T00:00:47Z, and it is not repeatable.",
        ),
        ("u_001", "c_105", ""): ("ended", "Last Season ended on 2026-05-31T00:00:00Z."),
        ("u_001", "c_106", ""): ("paused", "On Hold is paused."),
        ("u_001", "c_207", ""): ("not_started", "Next Month starts on 2026-07-01T00:00:00Z."),
        ("u_001", "c_206", ""): ("outside_hours", "Office Hours is outside its hours until 2026-06-01T07:00:00Z."),
        ("u_001", "c_201", ""): ("no_consent", "There is no consent for the channel email."),
        ("u_001", "c_202", ""): ("not_in_audience", "The customer is not in the audience of For Members: attribute tier."),
        ("u_001", "c_203", ""): ("not_in_audience", "The customer is not in the audience of Mailed Only: group spring."),
        ("u_004", "c_204", ""): (
            "cap_reached",
            "The cap is reached: 2 of 2 impressions of Twice a Day, until 2026-06-01T22:00:00Z.",
        ),
        ("u_001", "c_205", ""): ("cap_reached", "The cap lets nobody see Never: 0 of 0 impressions."),
        ("u_003", "c_101", ""): ("suppressed", "The customer is suppressed: nothing may be offered to them."),
        ("u_001", "c_101", "?category=sea"): ("filtered", "The request leaves Trail Days out by category."),
        ("u_001", "c_101", "?exclude=c_101"): ("filtered", "The request leaves Trail Days out by exclude."),
        ("u_002", "c_204", "?channel=app"): ("filtered", "The request leaves Twice a Day out by channel."),
    }
    async with serving(clocked) as api:
        told = {(user_id, campaign, query): await why(api, user_id, campaign, query) for user_id, campaign, query in expected}
    assert {key: (each["rules"][0]["rule"], each["reason"]) for key, each in told.items()} == expected
    assert {each["standing"] for each in told.values()} == {"removed"}


async def test_why_not_tells_the_place_of_what_is_recommended(clocked: Settings) -> None:
    start(clocked)
    async with serving(clocked) as api:
        ranking = (await api.get("/recommendations/u_004")).json()["recommendations"]
        told = [await why(api, "u_004", each["campaign_id"]) for each in ranking]
        stranger = await why(api, "nobody", "c_101")
        unknown = await api.get("/recommendations/u_004/campaigns/c_999")
    assert [(each["rank"], each["ranking_score"]) for each in told] == [(n, each["ranking_score"]) for n, each in enumerate(ranking, 1)]
    assert told[0]["standing"] == "ranked"
    assert {place["source"] for place in told[0]["places"]} >= {"similar_customers"}
    assert stranger["standing"] == "untied"
    assert stranger["reason"].startswith("No source knows a tie between the customer and Trail Days.")
    assert (unknown.status_code, unknown.headers["Content-Type"]) == (404, "application/problem+json")
    assert "c_999" in unknown.json()["detail"]


async def test_explaining_names_nobody_else_and_shows_the_ways_the_figures_and_the_rules(clocked: Settings) -> None:
    start(clocked)
    async with serving(replace(clocked, pseudonym_key="one key")) as api, serving(replace(clocked, pseudonym_key="another")) as other:
        answers = [await each.get("/recommendations/u_001?explain=true") for each in (api, api, other)]
    told, again, elsewhere = (each.json() for each in answers)
    assert "u_00" not in answers[0].text.replace('"u_001"', "")
    assert told["similar"] == again["similar"] != elsewhere["similar"]
    assert len({each["customer"] for each in told["similar"]}) == len(told["similar"]) > 3
    assert told["removed"] == {
        "cap_reached": 1,
        "dismissed": 1,
        "no_consent": 1,
        "not_in_audience": 2,
        "not_started": 1,
        "outside_hours": 1,
    }
    best = told["recommendations"][0]
    assert best["path"][0] == "u_001"
    assert best["path"][-1] == best["campaign_id"] == "c_101"
    assert best["path"][1] in {each["customer"] for each in told["similar"]}
    assert best["figures"]["customers"] == 5
    assert best["figures"]["clicks"] == 5


async def test_what_is_stated_of_a_customer_outdates_their_answers(clocked: Settings) -> None:
    start(clocked)
    async with serving(clocked) as api:
        assert "c_201" in await offered(api, "u_002")
        seed(clocked, [*records(), *WELCOME, stated(9, "u_002", consent={"email": False})], campaigns=[*CAMPAIGNS[:4], *RULED])
        cache = Cache(clocked)
        cache.bump_user("u_002")
        cache.close()
        assert "c_201" not in await offered(api, "u_002")


async def test_an_old_answer_is_given_without_what_asks_for_more_than_is_known(clocked: Settings, engines: RunningEngines) -> None:
    start(clocked)
    async with serving(replace(clocked, read_timeout_s=1.0)) as api:
        whole = await offered(api, "u_002")
        release(clocked, 2)
        await api.get("/recommendations/u_001")  # the release is taken into memory
        engines.kill("neo4j")  # the next test's settings bring it back
        stale = await api.get("/recommendations/u_002")
        refused = await api.get("/recommendations/u_002/campaigns/c_201")
    assert stale.headers["X-Cache"] == "stale"
    assert whole - ids(stale) == {"c_201", "c_202", "c_203", "c_204"}
    assert refused.status_code == 503


async def test_every_claim_in_a_reason_is_what_the_records_in_the_stores_say(clocked: Settings) -> None:
    start(clocked)
    said = [*records(), *WELCOME]
    claims = Claims(records=said, campaigns={each.campaign_id: each for each in (*CAMPAIGNS[:4], *RULED)})
    named = Reveal(plain=False, key=b"one key").named
    users = {named(each.user_id): each.user_id for each in said}
    judged = 0
    async with serving(replace(clocked, pseudonym_key="one key")) as api:
        for user_id in sorted({each.user_id for each in said}):
            told = (await api.get(f"/recommendations/{user_id}?explain=true")).json()
            nearest = [users[each["customer"]] for each in told["similar"] if each["similarity"] > 0]
            for each in told["recommendations"]:
                assert claims.unsupported(each["reason"], each["campaign_id"], user_id=user_id, nearest=nearest) is None
                judged += 1
    assert judged > 40
