"""Rebuilds and model changes: built beside what is served, switched to by a release, and cleaned up after when cut off."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from neo4j import GraphDatabase
from sqlalchemy import text

from local.engines import RunningEngines
from platform_assets.assets import metrics
from platform_assets.assets.embeddings import EmbeddingsMirror
from platform_assets.assets.graph import GraphMirror
from platform_assets.assets.vectors import VectorsMirror
from platform_assets.rebuilding import ASSETS
from stores.records import Release
from stores.settings import Settings
from stores.sql import open_engine
from tests.integration.refreshing import CAMPAIGNS, RECORDS, drop, load, opened, rebuild, refresh, said, verify
from tests.seeding import serving
from tests.small_roberta import DIMENSION, build_small_roberta


@pytest.fixture
def loaded(settings: Settings) -> Settings:
    """Stores in step, in batches of two, and release 1."""
    settings = replace(settings, batch_rows=2)
    load(settings, *CAMPAIGNS, *RECORDS)
    return settings


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small_roberta(tmp_path_factory.mktemp("roberta"))


def latest(settings: Settings) -> Release:
    found = opened(settings).documents.latest_release()
    assert found is not None
    return found


def collections(settings: Settings) -> set[str]:
    return set(opened(settings).vectors_as_found.collections())


def pair(release: Release) -> set[str]:
    return set(release.collections)


def release_again(settings: Settings, message_id: str) -> Release:
    """The release that a new record makes."""
    drop(settings, RECORDS[0] | {"message_id": message_id})
    assert refresh(settings).success
    return latest(settings)


async def answers_during(settings: Settings, work: Callable[[], object]) -> list[tuple[int, int, str, int]]:
    """What a client is told while `work` runs and once after: status, how many campaigns, X-Degraded, release."""
    seen: list[tuple[int, int, str, int]] = []

    async def ask(client) -> None:
        answer = await client.get("/recommendations/u_1", headers={"Cache-Control": "no-cache"})
        shown = answer.headers
        seen.append((answer.status_code, len(answer.json()["recommendations"]), shown.get("x-degraded", ""), int(shown["x-release"])))

    async with serving(settings) as client:
        await ask(client)
        running = asyncio.create_task(asyncio.to_thread(work))
        while not running.done():
            await ask(client)
            await asyncio.sleep(0.05)
        await running
        await asyncio.sleep(1.1)  # the API looks for a newer release once a second
        await ask(client)
    return seen


def test_a_rebuild_builds_beside_and_readers_move_with_its_release(loaded: Settings) -> None:
    before = latest(loaded)
    seen = asyncio.run(answers_during(loaded, lambda: rebuild(loaded)))
    after = latest(loaded)
    assert (before.number, after.number) == (1, 2)
    assert after.message_vectors == f"{before.message_vectors}_r2"
    assert collections(loaded) == pair(before) | pair(after)
    assert {(status, degraded) for status, _, degraded, _ in seen} == {(200, "")}
    assert min(campaigns for _, campaigns, _, _ in seen) > 0
    assert [seen[0][3], seen[-1][3]] == [1, 2]
    assert verify(loaded).differences == []


def test_the_collections_of_before_go_with_the_release_after_the_next(loaded: Settings) -> None:
    first = latest(loaded)
    assert rebuild(loaded, "vectors").success
    second = latest(loaded)
    assert refresh(loaded).success  # nothing changed, no release
    assert collections(loaded) == pair(first) | pair(second)
    third = release_again(loaded, "m20")
    assert pair(third) == pair(second)
    assert collections(loaded) == pair(second)
    assert first.message_vectors not in opened(loaded).ledger.stores()
    assert verify(loaded).differences == []


def test_rebuilding_twice_leaves_the_same_contents_and_two_releases_more(loaded: Settings) -> None:
    for number in (2, 3):
        result = rebuild(loaded)
        assert result.success
        assert (latest(loaded).number, said(result, "release")["outcome"]) == (number, "a new release")
        assert said(result, "embeddings")["texts_embedded"] == 6
        assert said(result, "vectors")["upserted"] == 12
    assert verify(loaded).differences == []
    assert said(refresh(loaded), "release")["outcome"] == "nothing changed"


@pytest.mark.parametrize("asset", ["vectors", "graph", "metrics", "embeddings"])
def test_a_rebuild_mends_what_the_ledger_does_not_know_of(loaded: Settings, asset: str) -> None:
    stores = opened(loaded)
    if asset == "vectors":
        swapped = stores.vectors.get(stores.collections.users, ["u_1"])["u_1"]
        stores.vectors.upsert_users(stores.collections.users, {"u_2": swapped})
    elif asset == "embeddings":
        stores.documents.put_embeddings("any", {stores.embedder.key(str(RECORDS[0]["message"])): swapped_vector(stores)})
    elif asset == "graph":
        with GraphDatabase.driver(loaded.neo4j_url, auth=(loaded.neo4j_user, loaded.neo4j_password)) as driver:
            for each in ("MATCH ()-[t:ENGAGED_WITH]->() DELETE t", "MATCH ()-[t:SHOWN]->() SET t.count = 9"):
                driver.execute_query(each, database_=loaded.neo4j_database)
    else:
        with open_engine(loaded).execution_options(writing=True).begin() as connection:
            connection.execute(text("UPDATE events SET intent = 'something else'"))
            connection.execute(text("UPDATE campaign_figures SET exposed = 99, customers = 99"))
            connection.execute(text("UPDATE campaigns SET body = replace(body, 'Tent Week', 'Another name')"))
    assert not verify(loaded).consistent
    assert said(refresh(loaded), "release")["outcome"] == "nothing changed"
    assert not verify(loaded).consistent
    assert rebuild(loaded, asset).success
    assert verify(loaded).differences == []
    assert latest(loaded).number == 2


def swapped_vector(stores):
    """A sound vector of other words."""
    key = stores.embedder.key(str(RECORDS[2]["message"]))
    return stores.documents.embeddings([key])[key]


def test_a_rebuild_of_one_asset_leaves_the_others_alone(loaded: Settings) -> None:
    result = rebuild(loaded, "graph")
    assert said(result, "graph")["upserted"] == 12
    assert {name: said(result, name)["outcome"] for name in ("embeddings", "vectors", "metrics")} == dict.fromkeys(
        ("embeddings", "vectors", "metrics"), "nothing changed"
    )
    assert pair(latest(loaded)) == collections(loaded)


def test_a_rebuild_of_what_cannot_be_rebuilt_is_refused(loaded: Settings) -> None:
    assert not rebuild(loaded, "raw_docs").success
    assert latest(loaded).number == 1


CUT_OFF = {  # asset → what is called for each of its batches, and the engine that dies in the second
    "embeddings": (EmbeddingsMirror, "apply", "mongodb"),
    "vectors": (VectorsMirror, "apply", "milvus"),
    "graph": (GraphMirror, "apply", "neo4j"),
    "metrics": (metrics, "rows_of", "mongodb"),
}


@pytest.mark.parametrize(("asset", "mend"), [*((asset, refresh) for asset in CUT_OFF), ("vectors", rebuild)])
def test_what_a_rebuild_that_was_cut_off_left_is_mended_and_dropped(
    loaded: Settings, engines: RunningEngines, monkeypatch: pytest.MonkeyPatch, asset: str, mend: Callable
) -> None:
    owner, name, engine = CUT_OFF[asset]
    whole, calls = getattr(owner, name), []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 2:
            engines.kill(engine)
        return whole(*arguments)

    monkeypatch.setattr("platform_assets.assets.embeddings.BATCH_ROWS", 2)
    monkeypatch.setattr(owner, name, dying)
    before, figures = latest(loaded), opened(loaded).metrics.catalogue()
    assert not rebuild(replace(loaded, write_timeout_s=2.0), *ASSETS).success
    monkeypatch.undo()
    assert len(calls) > 1
    engines.restore()
    assert latest(loaded) == before
    assert opened(loaded).metrics.catalogue() == figures
    assert mend(loaded).success
    assert verify(loaded).differences == []
    after = latest(loaded)
    assert collections(loaded) == pair(before) | pair(after)
    assert {each for each in opened(loaded).ledger.stores() if "vectors" in each} == {before.message_vectors, after.message_vectors}


def test_a_new_version_of_the_vectors_is_built_beside_too(loaded: Settings) -> None:
    first = latest(loaded)
    other = replace(loaded, user_vector_half_life_days=3.0)
    assert refresh(other).success
    assert pair(latest(other)).isdisjoint(pair(first))
    assert collections(other) == pair(first) | pair(latest(other))
    assert verify(other).differences == []


def test_another_model_is_built_beside_switched_to_and_left_again(loaded: Settings, roberta: Path) -> None:
    first = latest(loaded)
    other = replace(loaded, embedding_model=str(roberta), embedding_max_tokens=128)
    seen = asyncio.run(answers_during(loaded, lambda: refresh(other)))
    second = latest(other)
    assert (second.number, second.dimension, second.model) == (2, DIMENSION, str(roberta))
    assert {(status, degraded) for status, _, degraded, _ in seen} == {(200, "")}
    assert min(campaigns for _, campaigns, _, _ in seen) > 0
    assert [seen[0][3], seen[-1][3]] == [1, 2]
    assert collections(other) == pair(first) | pair(second)
    vectors = opened(other).vectors_as_found.get(second.user_vectors, ["u_1"])
    assert vectors["u_1"].shape == (DIMENSION,)
    assert verify(other).differences == []
    release_again(other, "m20")
    assert collections(other) == pair(second)
    assert refresh(loaded).success
    back = latest(loaded)
    assert (back.number, back.dimension, pair(back)) == (4, 384, pair(first))
    assert collections(loaded) == pair(second) | pair(back)
    assert verify(loaded).differences == []
