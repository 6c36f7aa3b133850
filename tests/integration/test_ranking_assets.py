"""The ranking is fitted and judged on the platform's own past, released with everything else, and held back where it fell."""

import asyncio
import json
import random
from pathlib import Path

import pytest
from msgspec.structs import replace
from pymongo import MongoClient

from stores.records import Release, iso
from stores.settings import Settings
from tests.integration.refreshing import CAMPAIGNS, RECORDS, drop, failed_checks, opened, rebuild, refresh, said, verify
from tests.seeding import DAY_MS, NOW, NOW_MS, serving

TASTES = {"camping": "I need a tent for heavy rain", "footwear": "My boots rub at the heel", "garden": "Which lamps for long evenings?"}
SHOP = [
    {"campaign_id": f"c_{taste}_{number}", "name": f"{taste.title()} {number}", "category": taste, "repeatable": True}
    for taste in TASTES
    for number in range(4)
]
CUSTOMERS = 30


def past(*, faithful: float, days: int = 5) -> list[dict[str, object]]:
    """Each customer talks of one thing a day and then clicks: on a campaign of it as often as `faithful` says, else on any."""
    draw, said_and_done = random.Random(7), []
    for day in range(days):
        for number in range(CUSTOMERS):
            taste = list(TASTES)[number % 3]
            own = draw.random() < faithful
            wanted = draw.choice([each["campaign_id"] for each in SHOP if each["category"] == taste or not own])
            at_ms = NOW_MS - (days - day) * DAY_MS + number * 1000
            fields = {"user_id": f"u_{number}", "timestamp": iso(at_ms)}
            said_and_done.append(fields | {"message_id": f"m_{day}_{number}", "message": TASTES[taste], "intent": taste})
            said_and_done.append(
                fields | {"message_id": f"k_{day}_{number}", "timestamp": iso(at_ms + 500), "event": "click", "campaign_id": wanted}
            )
    return said_and_done


def latest(settings: Settings) -> Release:
    found = opened(settings).documents.latest_release()
    assert found is not None
    return found


def outcomes(result) -> list[object]:
    return [said(result, asset)["outcome"] for asset in ("ranking_model", "ranking_quality")]


def pretend(settings: Settings, number: int, **quality: float) -> None:
    """Says of a release that its ranking did so well."""
    with MongoClient(settings.mongo_url) as client:
        releases = client[settings.mongo_database]["releases"]
        releases.update_one({"_id": f"r:{number:012d}"}, {"$set": {"quality": json.dumps(quality)}})


async def asked(settings: Settings, user_id: str) -> dict[str, object]:
    async with serving(settings) as api:
        answer = await api.get(f"/recommendations/{user_id}?explain=true&limit=4")
    assert (answer.status_code, answer.headers["X-Release"]) == (200, str(latest(settings).number))
    return answer.json()


@pytest.fixture
def loaded(settings: Settings) -> Settings:
    settings = replace(settings, clock_at=NOW)
    drop(settings, *SHOP, *past(faithful=0.9))
    result = refresh(settings)
    assert result.success
    assert outcomes(result) == ["fitted: for the first time", "judged: for the first time"]
    return settings


def test_few_outcomes_give_reciprocal_rank_fusion_and_it_says_so(settings: Settings) -> None:
    drop(settings, *CAMPAIGNS, *RECORDS)
    result = refresh(settings)
    told = said(result, "ranking_model")
    assert (told["kind"], latest(settings).ranking_model) == ("rrf", "rrf")
    assert "too few" in str(told["why"])
    assert failed_checks(result) == set()
    assert verify(settings).differences == []


def test_what_was_fitted_is_released_served_and_shown(loaded: Settings) -> None:
    released = latest(loaded)
    model = json.loads(opened(loaded).documents.models.body(released.ranking_model))
    judged = json.loads((Path(loaded.quality_dir) / "ranking_quality.json").read_text())
    assert judged["methods"]["served"]["ndcg@10"] == released.quality["ndcg@10"] > judged["methods"]["random"]["ndcg@10"]
    assert judged["cases"] == released.quality["cases"] > 20
    answer = asyncio.run(asked(loaded, "u_1"))
    ranked = [each["campaign_id"] for each in answer["recommendations"]]
    assert {each.split("_")[1] for each in ranked[:3]} == {"footwear"}
    if model["kind"] == "linear":
        total = sum(place["contribution"] for place in answer["recommendations"][0]["places"])
        assert abs(total) > 0
    assert verify(loaded).differences == []


def test_a_small_change_neither_fits_nor_judges_again(loaded: Settings) -> None:
    drop(loaded, past(faithful=0.9)[0] | {"message_id": "one_more"})
    result = refresh(loaded)
    assert outcomes(result) == ["nothing changed"] * 2
    assert latest(loaded).number == 2
    assert latest(loaded).ranking_model == opened(loaded).documents.releases(2)[1].ranking_model
    assert outcomes(refresh(replace(loaded, diversity=0.2)))[0] == "fitted: the code or a setting that shapes it is another one"
    drop(loaded, *(each | {"message_id": f"more_{each['message_id']}"} for each in past(faithful=0.9, days=1)))
    assert outcomes(refresh(replace(loaded, diversity=0.2))) == [
        "fitted: 361 records now, 301 then",
        "judged: the code or a setting that shapes it is another one",
    ]


def test_a_ranking_that_fell_holds_the_release_back_until_a_rebuild_accepts_it(loaded: Settings) -> None:
    pretend(loaded, 1, **{"ndcg@10": 0.99, "low": 0.98, "high": 1.0, "cases": 500.0})
    judgement = opened(loaded).documents.models.judgement()
    assert judgement is not None
    opened(loaded).documents.models.set_judgement(replace(judgement, quality=judgement.quality | {"cases": 100.0}))
    drop(loaded, past(faithful=0.9)[0] | {"message_id": "one_more"})
    result = refresh(loaded)
    assert not result.success
    assert "quality_has_not_fallen_since_the_last_release" in failed_checks(result)
    assert latest(loaded).number == 1
    assert rebuild(loaded, "ranking_model").success
    assert latest(loaded).number == 2
