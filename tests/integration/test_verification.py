"""`campaigns verify` and its asset check: silent after a refresh, and every kind of difference is found when it is planted."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from msgspec import Struct
from msgspec.structs import replace
from neo4j import GraphDatabase
from pymongo import MongoClient
from sqlalchemy import text

from platform_assets.automation import VERIFICATION
from platform_assets.definitions import definitions_on
from platform_assets.rebuilding import NAMES
from platform_assets.resources import Stores, stores_at
from platform_assets.verification.comparison import DIFFERENCES_A_STORE
from stores.documents import Stored
from stores.ledger import Change, Entry
from stores.metrics import EventRow
from stores.records import Campaign, CustomerTies, Record, Tally, content_hash
from stores.settings import Settings
from stores.sql import open_engine
from tests.integration.refreshing import CAMPAIGNS, RECORDS, clean_instance, drop, failed_checks, load, opened, refresh, run, verify

SECRET = "a word that only the customer said"
TENT, RAIN = (str(RECORDS[n]["message"]) for n in (0, 2))
ENGAGED = "engagement"
TALLY = Tally(count=1, weight=1.0, last_at_ms=1)


@pytest.fixture
def loaded(settings: Settings) -> Settings:
    """Stores in step, with a text in them that must never be shown; some customers share campaigns and intents."""
    more = [
        {"message_id": f"n{n}", "user_id": f"u_{n}", "timestamp": "2026-01-11T08:00:00Z", "event": "click"} | extra
        for n in (2, 3, 4)
        for extra in ({"campaign_id": "c_boots", "intent": "interest"},)
    ] + [
        {"message_id": f"o{n}", "user_id": f"u_{n}", "timestamp": "2026-01-12T08:00:00Z", "event": "click", "campaign_id": "c_tents"}
        for n in (3, 4)
    ]
    load(settings, *CAMPAIGNS, *RECORDS, *more, RECORDS[0] | {"message_id": "secret", "message": SECRET, "campaign_id": "c_unknown"})
    return settings


def test_nothing_differs_after_a_refresh(loaded: Settings) -> None:
    found = verify(loaded)
    assert found.differences == []
    assert found.consistent
    assert found.stores["mongodb"] == {"entries": 18, "differences": 0}
    assert found.stores["embeddings"] == {"texts": 7, "differences": 0}
    assert found.stores["milvus"] == {"message_vectors": 4, "user_vectors": 3, "campaign_vectors": 3, "differences": 0}
    assert (found.stores["neo4j"]["customers"], found.stores["neo4j"]["campaigns"], found.stores["neo4j"]["intents"]) == (4, 4, 2)
    assert found.stores["sql"] == {"events": 15, "engagement": 8, "differences": 0}


def test_nothing_differs_after_changes_deletions_and_a_customer_who_moves_on(loaded: Settings) -> None:
    moved = RECORDS[0] | {"user_id": "u_2"}
    drop(loaded, moved, {"message_id": "m5", "deleted": True}, {"message_id": "n2", "deleted": True}, CAMPAIGNS[0] | {"group": "indoor"})
    assert refresh(loaded).success
    assert verify(loaded).differences == []


def raw(stores: Stores, collection: str):
    return MongoClient(stores.settings.mongo_url)[stores.settings.mongo_database][collection]


def cypher(stores: Stores, statement: str) -> None:
    settings = stores.settings
    with GraphDatabase.driver(settings.neo4j_url, auth=(settings.neo4j_user, settings.neo4j_password)) as driver:
        driver.execute_query(statement, database_=settings.neo4j_database)


def sql(stores: Stores, statement: str) -> None:
    with open_engine(stores.settings).execution_options(writing=True).begin() as connection:
        assert connection.execute(text(statement)).rowcount


def set_column(stores: Stores, key: str, **values: object) -> None:
    raw(stores, "raw_docs").update_one({"_id": key}, {"$set": values})


def stored(stores: Stores, key: str, **changes: object) -> Stored:
    """A record with other content, under the hash of the true one."""
    record = stores.documents.get([key])[key]
    return Stored(replace(record, **changes), content_hash(record), 1, 1)


def embedding(stores: Stores, words: str) -> str:
    return f"e:{stores.embedder.key(words)}"


def put_embedding(stores: Stores, words: str, vector: np.ndarray) -> None:
    stores.documents.put_embeddings("any", {stores.embedder.key(words): vector.astype(np.float32)})


def message_row(stores: Stores, of: str, **changes: object) -> None:
    names = stores.collections
    (row,) = stores.vectors.messages(names.messages, [of]).values()
    stores.vectors.upsert_messages(names.messages, [replace(row, **changes)])


def unit(stores: Stores) -> np.ndarray:
    """A sound vector that is nobody's."""
    return np.eye(stores.embedder.dimension, dtype=np.float32)[0]


def set_head(stores: Stores, ledger: str, **changes: str) -> None:
    head = stores.ledger.head(ledger)
    assert head is not None
    stores.ledger.set_head(ledger, replace(head, **changes))


def ghost_record() -> Stored:
    record = Record(message_id="ghost", user_id="u_1", timestamp_ms=1, event="click")
    return Stored(record, content_hash(record), 1, 1)


def publish_the_next(stores: Stores) -> None:
    latest = stores.documents.latest_release()
    assert latest is not None
    stores.cache.publish(replace(latest, number=latest.number + 1))


def drop_the_served(stores: Stores) -> None:
    stores.vectors.drop(stores.collections.users)


def abandon_a_collection(stores: Stores) -> None:
    names = tuple(f"{kind}_left_4_x_r9" for kind in NAMES)
    stores.vectors.prepare(messages=names[0], users=names[1], campaigns=names[2], dimension=4)


def ghost(user_id: str) -> EventRow:
    return EventRow(key=f"m:ghost {user_id}", user_id=user_id, at_ms=1, day="2026-01-01", event="impression", weight=0.0)


class Planted(Struct, frozen=True):
    """What is done to the stores, and the store, kind and id of the difference that must be told of it ("*": any id)."""

    plant: Callable[[Stores], object]
    store: str
    kind: str
    id: str


ROUNDS: dict[str, list[Planted]] = {
    "records": [
        Planted(lambda s: s.documents.delete(["m:m9"]), "mongodb", "missing", "m:m9"),
        Planted(lambda s: s.documents.put([stored(s, "m:m1", message="other")]), "mongodb", "differs", "m:m1"),
        Planted(lambda s: s.documents.put([stored(s, "m:m2", user_id="u_9")]), "mongodb", "differs", "m:m2"),
        Planted(lambda s: set_column(s, "m:m3", content_hash="0"), "mongodb", "differs", "m:m3"),
        Planted(lambda s: s.documents.put([ghost_record()]), "mongodb", "extra", "m:ghost"),
        Planted(lambda s: s.documents.delete(["c:c_lamps"]), "mongodb", "missing", "c:c_lamps"),
    ],
    "a document that cannot be read": [Planted(lambda s: set_column(s, "m:m1", timestamp_ms="never"), "mongodb", "unreadable", "*")],
    "a write that was not finished": [
        Planted(lambda s: s.ledger.intend("raw_docs", [Change("m:m1", "0", "u_1")]), "mongodb", "ledger", "m:m1")
    ],
    "what is kept of ledgers": [
        Planted(lambda s: sql(s, "UPDATE ledger_totals SET held = 1 WHERE store = 'graph'"), "neo4j", "ledger", "graph"),
        Planted(lambda s: sql(s, "UPDATE ledger_totals SET digest = 'x' WHERE store = 'raw_docs'"), "mongodb", "ledger", "raw_docs"),
        # a ledger that was changed past our code, so that what is kept of it hides that it is behind
        Planted(lambda s: sql(s, "DELETE FROM ledger WHERE store = 'metrics' AND id = 'm:m1'"), "sql", "ledger", "m:m1"),
    ],
    "embeddings": [
        Planted(lambda s: raw(s, "embeddings").delete_one({"_id": embedding(s, TENT)}), "embeddings", "missing", "m:m1"),
        Planted(lambda s: put_embedding(s, SECRET, np.full(s.embedder.dimension, np.nan)), "embeddings", "differs", "m:secret"),
        Planted(lambda s: put_embedding(s, RAIN, np.ones(1)), "embeddings", "differs", "m:m3"),
    ],
    "messages in Milvus": [
        Planted(lambda s: s.vectors.delete(s.collections.messages, ["m1"]), "milvus", "missing", "m:m1"),
        Planted(lambda s: message_row(s, "m3", vector=unit(s)), "milvus", "differs", "m:m3"),
        Planted(lambda s: message_row(s, "m5", user_id="u_2"), "milvus", "differs", "m:m5"),
        Planted(lambda s: message_row(s, "secret", timestamp_ms=1), "milvus", "differs", "m:secret"),
        Planted(lambda s: [message_row(s, "m3", message_id=f"ghost{n}") for n in "ab"], "milvus", "extra", "m:ghosta"),
    ],
    "customers in Milvus": [
        Planted(lambda s: s.vectors.delete(s.collections.users, ["u_1"]), "milvus", "missing", "u_1"),
        Planted(lambda s: s.vectors.upsert_users(s.collections.users, {"u_2": unit(s)}), "milvus", "differs", "u_2"),
        Planted(lambda s: s.vectors.upsert_users(s.collections.users, {"u_4": unit(s), "x": unit(s)}), "milvus", "extra", "u_4"),
        Planted(lambda s: s.vectors.set_stamp(s.collections.ledger, "another"), "milvus", "stamp", "*"),
    ],
    "campaigns in Milvus": [
        Planted(lambda s: s.vectors.delete(s.collections.campaigns, ["c_tents"]), "milvus", "missing", "c:c_tents"),
        Planted(lambda s: s.vectors.upsert_campaigns(s.collections.campaigns, {"c_boots": unit(s)}), "milvus", "differs", "c:c_boots"),
        Planted(lambda s: s.vectors.upsert_campaigns(s.collections.campaigns, {"ghost": unit(s)}), "milvus", "extra", "c:ghost"),
    ],
    "customers in Neo4j": [
        Planted(lambda s: s.graph.delete_customers(["u_1"]), "neo4j", "missing", "u_1"),
        Planted(lambda s: s.graph.put_customers([CustomerTies(user_id="u_2", engaged_with={"c_boots": TALLY})]), "neo4j", "differs", "u_2"),
        Planted(lambda s: cypher(s, "MATCH (u:User {id: 'u_4'}) SET u.mailed = ['garden']"), "neo4j", "differs", "u_4"),
        Planted(lambda s: cypher(s, "MATCH (u:User {id: 'u_4'}) SET u.suppressed = false"), "neo4j", "differs", "u_4"),
        Planted(lambda s: [s.graph.put_customers([CustomerTies(user_id=f"ghost{n}")]) for n in "ab"], "neo4j", "extra", "ghosta"),
        Planted(lambda s: cypher(s, "MATCH (:User {id: 'u_3'})-[t:SHOWN|DISMISSED]->() SET t.last_at = 1"), "neo4j", "differs", "u_3"),
        Planted(
            lambda s: cypher(s, "MATCH (u:User {id: 'u_4'}) SET u.channels = ['x'], u.channel_counts = [1]"), "neo4j", "differs", "u_4"
        ),
    ],
    "what customers were shown": [
        Planted(lambda s: cypher(s, "MATCH (:User {id: 'u_1'})-[t:SHOWN]->() SET t.times = [1]"), "neo4j", "differs", "u_1"),
    ],
    "what Neo4j knows of campaigns": [
        Planted(lambda s: s.graph.put_campaigns([Campaign(campaign_id="c_tents", name="X")]), "neo4j", "differs", "c:c_tents"),
        Planted(
            lambda s: cypher(s, "MATCH (:Campaign {id: 'c_boots'})-[t:ATTRACTS]->() SET t.weight = 99"), "neo4j", "differs", "c:c_boots"
        ),
        Planted(lambda s: cypher(s, "MATCH (c:Campaign {id: 'c_lamps'}) DETACH DELETE c"), "neo4j", "missing", "c:c_lamps"),
        Planted(lambda s: cypher(s, "CREATE (:Intent {id: 'ghost'})"), "neo4j", "extra", "Intent ghost"),
        Planted(lambda s: cypher(s, "CREATE (:Campaign {id: 'ghost', known: false})"), "neo4j", "extra", "Campaign ghost"),
    ],
    "companions of campaigns, and a tie that is there twice": [
        Planted(
            lambda s: cypher(s, "MATCH (:Campaign {id: 'c_tents'})-[t:SHARES_CUSTOMERS]->() DELETE t"), "neo4j", "differs", "c:c_tents"
        ),
        Planted(lambda s: cypher(s, "MATCH (:Campaign {id: 'c_boots'})-[t:ATTRACTS]->() DELETE t"), "neo4j", "differs", "c:c_boots"),
        Planted(
            lambda s: cypher(s, "MATCH (u:User)-[t:DISMISSED]->(c) CREATE (u)-[d:DISMISSED]->(c) SET d = t"), "neo4j", "count", "DISMISSED"
        ),
        Planted(lambda s: s.ledger.rewrite("graph", [Entry("m:m1", "0", "u_1")]), "neo4j", "ledger", "m:m1"),
        Planted(lambda s: set_head(s, "graph", version="other"), "neo4j", "version", "graph"),
    ],
    "events in SQL": [
        Planted(lambda s: sql(s, "DELETE FROM events WHERE key = 'm:m1'"), "sql", "missing", "m:m1"),
        Planted(lambda s: sql(s, "UPDATE events SET weight = 9 WHERE key = 'm:m2'"), "sql", "differs", "m:m2"),
        Planted(lambda s: s.metrics.put(rows=[ghost("u_1"), ghost("x")], catalogue=[], gone=[], users=[]), "sql", "extra", "m:ghost u_1"),
        Planted(lambda s: s.ledger.forget("metrics"), "sql", "ledger", "metrics"),
    ],
    "events of a stranger": [
        Planted(lambda s: s.metrics.put(rows=[ghost("x")], catalogue=[], gone=[], users=[]), "sql", "extra", "m:ghost x")
    ],
    "engagement in SQL": [
        Planted(
            lambda s: sql(s, "DELETE FROM engagement WHERE user_id = 'u_2' AND campaign_id = 'c_tents'"),
            "sql",
            "missing",
            f"{ENGAGED} u_2 c_tents",
        ),
        Planted(
            lambda s: sql(s, "UPDATE engagement SET weight = weight + 0.001 WHERE user_id = 'u_3'"),
            "sql",
            "differs",
            f"{ENGAGED} u_3 c_boots",
        ),
        Planted(lambda s: sql(s, "INSERT INTO engagement VALUES ('u_1', 'c_lamps', 1, 1, 1)"), "sql", "extra", f"{ENGAGED} u_1 c_lamps"),
        Planted(lambda s: sql(s, "INSERT INTO engagement VALUES ('ghost', 'c_tents', 1, 1, 1)"), "sql", "count", ENGAGED),
    ],
    "figures in SQL": [
        Planted(
            lambda s: sql(s, "UPDATE campaign_figures SET exposed = 7 WHERE campaign_id = 'c_boots'"), "sql", "differs", "figures c_boots"
        ),
        Planted(lambda s: sql(s, "DELETE FROM campaign_figures WHERE campaign_id = 'c_tents'"), "sql", "missing", "figures c_tents"),
        Planted(lambda s: sql(s, "INSERT INTO campaign_figures VALUES ('x', 1, 1, 1, 1, 1, 1, 1)"), "sql", "extra", "figures x"),
        Planted(
            lambda s: sql(s, "UPDATE campaign_days SET clicks = 7 WHERE day = '2026-01-02'"), "sql", "differs", "day c_tents 2026-01-02"
        ),
        Planted(lambda s: sql(s, "DELETE FROM campaign_days WHERE day = '2026-01-04'"), "sql", "missing", "day c_tents 2026-01-04"),
        Planted(
            lambda s: sql(s, "INSERT INTO campaign_days VALUES ('x', '2020-01-01', 1, 1, 1, 1, 1)"), "sql", "extra", "day x 2020-01-01"
        ),
    ],
    "the catalogue in SQL": [
        Planted(
            lambda s: s.metrics.put(rows=[], catalogue=[Campaign(campaign_id="x", name="X")], gone=[], users=[]), "sql", "extra", "c:x"
        ),
        Planted(lambda s: sql(s, "UPDATE campaigns SET body = replace(body, 'Tent Week', 'X')"), "sql", "differs", "c:c_tents"),
        Planted(lambda s: sql(s, "UPDATE campaigns SET \"group\" = 'x' WHERE campaign_id = 'c_boots'"), "sql", "differs", "c:c_boots"),
        Planted(lambda s: sql(s, "DELETE FROM campaigns WHERE campaign_id = 'c_lamps'"), "sql", "missing", "c:c_lamps"),
    ],
    "the release": [
        Planted(publish_the_next, "release", "differs", "published"),
        Planted(lambda s: set_head(s, "metrics", version="other"), "release", "stale", "release 1"),
        Planted(abandon_a_collection, "release", "extra", "message_vectors_left_4_x_r9"),
    ],
    "a collection that is gone": [
        Planted(drop_the_served, "release", "missing", "*"),
        Planted(lambda s: None, "milvus", "missing", "*"),
    ],
    "a ranking model that is gone": [
        Planted(lambda s: raw(s, "ranking_models").delete_many({}), "release", "missing", "ranking model rrf")
    ],
    "no release": [Planted(lambda s: raw(s, "releases").delete_many({}), "release", "missing", "latest")],
}


@pytest.mark.parametrize("name", ROUNDS)
def test_a_planted_difference_is_found_and_tells_no_customers_words(loaded: Settings, name: str) -> None:
    stores = opened(loaded)
    for each in ROUNDS[name]:
        each.plant(stores)
    found = verify(loaded)
    told = {(each.store, each.kind, id_) for each in found.differences for id_ in (each.id, "*")}
    assert [each for each in ROUNDS[name] if (each.store, each.kind, each.id) not in told] == [], found.differences
    assert not found.consistent
    assert SECRET.encode() not in msgspec.json.encode(found)


def test_of_many_differences_the_first_are_told(loaded: Settings) -> None:
    drop(loaded, *(RECORDS[0] | {"message_id": f"many{n}"} for n in range(3 * DIFFERENCES_A_STORE)))
    assert refresh(loaded).success
    stores = opened(loaded)
    stores.documents.delete([f"m:many{n}" for n in range(3 * DIFFERENCES_A_STORE)])
    found = verify(loaded)
    assert found.stores["mongodb"]["differences"] == DIFFERENCES_A_STORE


def test_verifying_writes_nothing(loaded: Settings) -> None:
    other = replace(loaded, user_vector_half_life_days=1.0)
    before = opened(loaded).vectors_as_found.collections()
    found = verify(other)
    assert ("milvus", "missing") in {(each.store, each.kind) for each in found.differences}
    assert opened(loaded).vectors_as_found.collections() == before
    assert verify(loaded).consistent


def test_the_verify_job_reports_a_difference_without_stopping_anything(loaded: Settings) -> None:
    assert [each.passed for each in run(loaded, "verify").get_asset_check_evaluations()] == [True]
    publish_the_next(opened(loaded))
    result = run(loaded, "verify")
    assert result.success
    assert failed_checks(result) == {VERIFICATION.name}
    (evaluation,) = result.get_asset_check_evaluations()
    assert "published" in str(evaluation.metadata["first"].value)


def test_materializing_everything_by_hand_leaves_the_long_look_out(loaded: Settings) -> None:
    everything = definitions_on(stores_at(loaded)).resolve_implicit_global_asset_job_def()
    keys = list(everything.asset_layer.executable_asset_keys)
    result = everything.execute_in_process(instance=clean_instance(), asset_selection=keys)
    names = {each.check_name for each in result.get_asset_check_evaluations()}
    assert VERIFICATION.name not in names
    assert len(names) > 5


def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_exits_with_1_and_the_first_differences(loaded: Settings, environment: dict[str, str]) -> None:
    well = command(environment, "verify", "--json")
    assert (well.returncode, json.loads(well.stdout)["consistent"]) == (0, True), well.stderr
    opened(loaded).documents.delete(["m:secret"])
    badly = command(environment, "verify", "--json")
    said = json.loads(badly.stdout)
    assert (badly.returncode, said["consistent"]) == (1, False)
    assert {"store": "mongodb", "kind": "missing", "id": "m:secret", "detail": "is in the ledger, and not stored"} in said["differences"]
    shown = command(environment, "verify")
    assert shown.returncode == 1
    assert "m:secret" in shown.stdout
    assert SECRET not in shown.stdout + badly.stdout
