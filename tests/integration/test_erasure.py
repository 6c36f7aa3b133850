"""A customer is forgotten: nothing of them is left in any store, no load brings them back, and Dagster never knew their words."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import httpx
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from pymongo import MongoClient
from redis import Redis

from cli.main import main
from platform_assets import erasing
from platform_assets.definitions import definitions_on
from platform_assets.erasing import holdings
from platform_assets.resources import Stores, stores_at, surfaced
from ranking.words import campaign_text
from stores.cache import Cache, answer_key, epoch_key
from stores.documents import Documents, Stored
from stores.erasures import Erasure, Erasures
from stores.errors import Unavailable
from stores.ledger import Ledger
from stores.quarantine import Quarantine
from stores.records import content_hash
from stores.settings import Settings
from stores.suppression import mark_of
from tests.conftest import wipe
from tests.faults.contents import contents_of, differences
from tests.integration.refreshing import CAMPAIGNS, RECORDS, drop, failed_checks, load, opened, refresh, run, said
from tests.seeding import records, release, seed, serving

KEY = "0123456789abcdef0123456789abcdef"
OTHERS = [record for record in RECORDS if record["user_id"] != "u_1"]
THEIRS_IN_QUARANTINE = [b'{"user_id": "u_1", "timestamp": "soon", "message": "x"}', b"{broken, of u_1: y"]
OTHERS_IN_QUARANTINE = [b'{"user_id": "u_10", "timestamp": "soon", "message": "z"}', b"{broken, of nobody"]
LATER = {
    "message_id": "later",
    "user_id": "u_1",
    "timestamp": "2026-02-01T08:00:00Z",
    "message": "It is me again",
    "campaign_id": "c_tents",
}


@pytest.fixture
def keyed(settings: Settings) -> Settings:
    return replace(settings, erasure_key=KEY)


@pytest.fixture
def loaded(keyed: Settings) -> Settings:
    """Stores with customers, among them u_1, of whom something is in quarantine too."""
    load(keyed, *CAMPAIGNS, *RECORDS, *THEIRS_IN_QUARANTINE, *OTHERS_IN_QUARANTINE)
    return keyed


def ask(settings: Settings, user_id: str = "u_1") -> Erasure:
    """What the command does before it launches the job."""
    documents = Documents(settings)
    asked = documents.erasures.request(user_id, key=settings.erasure_key, now_ms=erasing.now_ms())
    documents.close()
    cache = Cache(settings)
    cache.suppress(user_id)
    cache.close()
    return asked


def forget(settings: Settings) -> dg.ExecuteInProcessResult:
    return run(settings, "forget")


def held(settings: Settings, user_id: str = "u_1") -> dict[str, int]:
    """The places where anything of a customer is left."""
    stores = opened(settings)
    try:
        return {place: count for place, count in holdings(stores, user_id).items() if count}
    finally:
        stores.close()


def quarantined(settings: Settings) -> set[str]:
    return {each.raw for each in opened(settings).documents.quarantined(100)}


def test_a_forgotten_customer_is_gone_from_every_store_and_the_proof_says_so(loaded: Settings) -> None:
    before = held(loaded)
    assert set(before) == {
        "mongodb raw_docs",
        "mongodb quarantine",
        "milvus message_vectors",
        "milvus user_vectors",
        "neo4j customers",
        "neo4j ties",
        "neo4j words",
        "sql events",
        "sql engagement",
        "sql ledger",
    }
    asked = ask(loaded)
    assert forget(loaded).success
    assert held(loaded) == {}
    done = opened(loaded).documents.erasures.get(asked.mark)
    assert done is not None
    assert (done.user_id, done.done_at_ms > 0, set(done.left.values())) == ("", True, {0})
    assert {place: count for place, count in done.found.items() if count} == before | {"mongodb embeddings": 1}
    assert quarantined(loaded) == {raw.decode() for raw in OTHERS_IN_QUARANTINE}
    with MongoClient(loaded.mongo_url) as client, Redis.from_url(loaded.redis_url) as redis:
        database = client[loaded.mongo_database]
        text = str([list(database[name].find({})) for name in database.list_collection_names()])
        assert "u_1'" not in text
        assert '"u_1"' not in text
        assert "two person tent" not in text
        assert redis.keys("*u_1*") == []


def test_the_stores_end_as_a_load_from_nothing_without_the_customer(loaded: Settings, tmp_path: Path) -> None:
    ask(loaded)
    assert forget(loaded).success
    found = contents_of(loaded)
    wipe(loaded)
    empty = replace(loaded, mongo_database=f"test_{uuid4().hex[:12]}", sql_url=f"sqlite:///{tmp_path / 'other.sqlite3'}")
    drop(empty, *CAMPAIGNS, *OTHERS)
    assert refresh(empty).success
    assert differences(found, contents_of(empty)) == []
    with MongoClient(empty.mongo_url) as client:
        client.drop_database(empty.mongo_database)


def test_a_text_that_others_say_too_keeps_its_vector_and_no_other_text_does(loaded: Settings) -> None:
    shared = RECORDS[0] | {"message_id": "shared", "user_id": "u_2"}
    own = RECORDS[0] | {"message_id": "own", "message": "Only I say this"}
    drop(loaded, shared, own)
    refresh(loaded)
    drop(loaded, own | {"message": "Now I say that"})  # the first text is no record's any more
    refresh(loaded)
    stores = opened(loaded)
    stores.documents.put_embeddings("another model", {"ab" * 32: np.ones(3, np.float32)})
    ask(loaded)
    assert forget(loaded).success
    keys = set(opened(loaded).documents.embedding_keys())
    assert stores.embedder.key(str(RECORDS[0]["message"])) in keys
    said = [str(record["message"]) for record in (RECORDS[0], RECORDS[2], RECORDS[4])]
    assert keys == {stores.embedder.key(text) for text in [*said, *map(campaign_text, stores.documents.campaigns())]}


def test_no_later_load_brings_a_forgotten_customer_back(loaded: Settings) -> None:
    ask(loaded)
    assert forget(loaded).success
    drop(loaded, LATER, RECORDS[0], RECORDS[2], *THEIRS_IN_QUARANTINE, b"{broken again")
    result = refresh(loaded)
    assert result.success
    counts = {name: said(result, "raw_docs")[name] for name in ("read", "new", "unchanged", "suppressed", "quarantined")}
    assert counts == {"read": 6, "new": 0, "unchanged": 1, "suppressed": 4, "quarantined": 1}
    assert all(report.balances for report in opened(loaded).documents.files(10))
    assert held(loaded) == {}
    assert failed_checks(result) == set()


def test_a_forgotten_customer_who_comes_back_by_a_back_door_fails_the_check(loaded: Settings) -> None:
    mark = ask(loaded).mark
    assert forget(loaded).success
    opened(loaded).documents.erasures.put(Erasure(mark=mark_of("u_2", KEY), user_id="", requested_at_ms=1, done_at_ms=1))
    assert "nobody_who_was_forgotten_has_come_back" in failed_checks(refresh(loaded))
    assert mark != mark_of("u_2", KEY)


def test_a_waiting_file_is_rewritten_without_the_customer_and_stays_in_the_inbox(loaded: Settings) -> None:
    path = drop(loaded, LATER, OTHERS[0] | {"message_id": "new"}, THEIRS_IN_QUARANTINE[0], OTHERS_IN_QUARANTINE[1])
    ask(loaded)
    result = forget(loaded)
    assert result.success
    assert said(result, "raw_docs")["outcome"] == "no new file"
    assert path.exists()
    assert held(loaded) == {}
    result = refresh(loaded)
    assert {name: said(result, "raw_docs")[name] for name in ("read", "new", "suppressed", "quarantined")} == {
        "read": 2,
        "new": 1,
        "suppressed": 0,
        "quarantined": 1,
    }


def test_a_waiting_file_that_cannot_be_rewritten_is_left_and_the_refresh_that_takes_it_completes_the_erasure(loaded: Settings) -> None:
    path = drop(loaded, LATER, OTHERS[0] | {"message_id": "new"})
    damaged = path.read_bytes()[:-9]
    path.write_bytes(damaged)
    mark = ask(loaded).mark
    result = forget(loaded)
    assert result.success
    assert said(result, "erasures")["waiting"] == 1
    assert path.read_bytes() == damaged
    assert set(held(loaded)) <= {"inbox"}
    assert refresh(loaded).success
    assert held(loaded) == {}
    done = opened(loaded).documents.erasures.get(mark)
    assert done is not None
    assert done.done_at_ms > 0


@pytest.mark.parametrize(
    ("moment", "completed_by"),
    [
        ("quarantine.drop", refresh),
        ("documents.delete", forget),
        ("ledger.note", refresh),
        ("documents.delete_embeddings", forget),
        ("cache.lift", refresh),
        ("erasures.done", forget),
    ],
)
def test_an_erasure_that_was_cut_off_anywhere_is_completed_by_the_next_run(
    loaded: Settings, monkeypatch: pytest.MonkeyPatch, moment: str, completed_by: Callable[[Settings], dg.ExecuteInProcessResult]
) -> None:
    mark = ask(loaded).mark
    where, method = moment.split(".")
    owners = {"quarantine": Quarantine, "documents": Documents, "ledger": Ledger, "cache": Cache, "erasures": Erasures}

    def cut_off(*_: object, **__: object) -> None:
        raise dg.Failure("cut off here", allow_retries=False)

    with monkeypatch.context() as patched:
        patched.setattr(owners[where], method, cut_off)
        assert not forget(loaded).success
    assert completed_by(loaded).success
    assert held(loaded) == {}
    done = opened(loaded).documents.erasures.get(mark)
    assert done is not None
    assert (done.done_at_ms > 0, done.found["mongodb raw_docs"], set(done.left.values())) == (True, 3, {0})


def test_a_request_that_comes_during_a_refresh_waits_for_the_next_run(loaded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    real = erasing.requests

    def late(stores: Stores, *, restored: bool) -> list[Erasure]:
        found = real(stores, restored=restored)
        ask(loaded)
        return found

    drop(loaded, LATER)
    with monkeypatch.context() as patched:
        patched.setattr(erasing, "requests", late)
        result = refresh(loaded)
    assert result.success
    assert (said(result, "raw_docs")["suppressed"], said(result, "erasures")["waiting"]) == (1, 1)
    assert forget(loaded).success
    assert held(loaded) == {}


def test_vectors_of_an_older_release_are_forgotten_too(loaded: Settings) -> None:
    other = replace(loaded, user_vector_half_life_days=7.0)  # its vectors lie in collections of their own, beside the older ones
    assert refresh(other).success
    assert held(other)["milvus user_vectors"] == 2
    ask(other)
    assert forget(other).success
    assert held(other) == {}
    assert refresh(loaded).success  # and back: the older ledger speaks of what is really there
    assert held(loaded) == {}


def test_a_customer_who_is_forgotten_twice_or_was_never_there_is_proven_gone(loaded: Settings) -> None:
    for user_id in ("u_1", "u_1", "stranger"):
        mark = ask(loaded, user_id).mark
        assert forget(loaded).success
        done = opened(loaded).documents.erasures.get(mark)
        assert done is not None
        assert done.done_at_ms > 0
    assert set(done.found.values()) == {0}


def test_a_database_that_was_restored_is_cleared_again(loaded: Settings) -> None:
    """The collection of erasures outlives the restore of the others, as the page on operations asks for."""
    documents = opened(loaded).documents
    before = documents.records_of(["u_1"])["u_1"]
    ask(loaded)
    assert forget(loaded).success
    documents.put([Stored(record, content_hash(record), 1, 1) for record in before])
    documents.set_stamp("raw_docs", "that of an older copy")
    assert refresh(loaded).success
    assert held(loaded) == {}


def test_without_the_key_nothing_is_taken_once_somebody_was_forgotten(loaded: Settings) -> None:
    ask(loaded)
    assert forget(loaded).success
    drop(loaded, LATER)
    for key, said_to_be in (("", "not set"), ("x" * 32, "not the key that customers were forgotten with")):
        result = refresh(replace(loaded, erasure_key=key))
        assert not result.success
        (failure,) = [event for event in result.all_events if event.is_step_failure and event.step_key == "raw_docs"]
        assert said_to_be in str(failure.step_failure_data.user_failure_data or failure.step_failure_data.error)
    assert len(opened(loaded).documents.records_of(["u_1"])["u_1"]) == 0


def test_the_command_refuses_without_a_key_in_one_line_and_changes_nothing(environment: dict[str, str]) -> None:
    for key in ("", "too-brief-a-key"):
        result = CliRunner(env=environment | {"CAMPAIGNS_ERASURE_KEY": key}).invoke(main, ["forget", "u_1", "--yes"])
        assert result.exit_code == 2
        assert "CAMPAIGNS_ERASURE_KEY: " in result.output.splitlines()[-1]
        assert key not in result.output or not key


def test_the_command_keeps_the_request_when_dagster_does_not_answer(environment: dict[str, str], loaded: Settings) -> None:
    variables = environment | {"CAMPAIGNS_ERASURE_KEY": KEY, "CAMPAIGNS_DAGSTER_URL": "http://127.0.0.1:9"}
    result = CliRunner(env=variables).invoke(main, ["forget", "u_1", "--yes"])
    assert result.exit_code == 1
    assert "the request is kept" in result.output
    assert refresh(loaded).success
    assert held(loaded) == {}


# Answers


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def known(answer: httpx.Response) -> bool:
    return not all(each["reason"].startswith("We do not know you yet. ") for each in answer.json()["recommendations"])


@pytest.fixture
def seeded(keyed: Settings) -> Settings:
    seed(keyed, records())
    release(keyed, 1)
    return keyed


@pytest.mark.anyio
async def test_answers_show_nothing_of_a_customer_from_the_request_on(seeded: Settings) -> None:
    async with serving(seeded) as api:
        before = [await api.get("/recommendations/u_001") for _ in range(2)]
        ask(seeded, "u_001")
        cache = Cache(seeded)
        cache.bump_user("u_001")  # what is heard of them meanwhile lifts nothing
        cache.close()
        after = [await api.get(f"/recommendations/u_001{query}") for query in ("", "", "?limit=3", "?explain=true")]
        other = await api.get("/recommendations/u_002")
    assert [known(answer) for answer in before] == [True, True]
    assert [known(answer) for answer in after] == [False] * 4
    assert [answer.headers["X-Cache"] for answer in after] == ["miss", "hit", "miss", "bypass"]
    assert known(other)


@pytest.mark.anyio
async def test_answers_show_nothing_of_a_customer_when_redis_has_lost_it(seeded: Settings) -> None:
    async with serving(seeded) as api:
        ask(seeded, "u_001")
        with Redis.from_url(seeded.redis_url) as redis:
            redis.flushdb()
            after = [await api.get("/recommendations/u_001") for _ in range(3)]
            assert redis.ttl(epoch_key("u_001")) > 0
            redis.delete(answer_key("u_001", "10"))
            again = await api.get("/recommendations/u_001")
    assert [known(answer) for answer in (*after, again)] == [False] * 4


@pytest.mark.anyio
async def test_answers_show_nothing_of_a_customer_while_redis_is_down(seeded: Settings) -> None:
    ask(seeded, "u_001")
    async with serving(replace(seeded, redis_url="redis://127.0.0.1:9/0")) as api:
        answers = [await api.get("/recommendations/u_001"), await api.get("/recommendations/u_002")]
    assert [known(answer) for answer in answers] == [False, True]


# What Dagster keeps


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance whose storage lies in files."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as found:
        yield found


def kept_by_dagster(folder: Path) -> str:
    """Everything in Dagster's storage that is text, from whatever file."""
    kept = []
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix == ".db":
            with sqlite3.connect(path) as connection:
                kept.append("\n".join(connection.iterdump()))
        elif path.is_file():
            kept.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(kept)


def test_dagster_keeps_no_text_and_no_id_of_a_customer(keyed: Settings, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    owners = [f"cust_{record['user_id']}" for record in RECORDS]
    ids = [{"user_id": owner, "message_id": f"of_{owner}_{n}"} for n, owner in enumerate(owners)]
    spoken = [record | renamed for record, renamed in zip(RECORDS, ids, strict=True)]
    drop(keyed, *CAMPAIGNS, *spoken, b'{"user_id": "cust_u_9", "message": "a broken confession"', {"user_id": "cust_u_8", "message": 1})
    definitions = definitions_on(stores_at(keyed))
    assert definitions.resolve_job_def("refresh").execute_in_process(instance=instance).success
    stores = opened(keyed)
    stores.vectors.delete(stores.collections.messages, ["of_cust_u_1_0"])
    stores.documents.put_embeddings("any", {stores.embedder.key(str(RECORDS[2]["message"])): np.full(384, np.nan, np.float32)})
    stores.graph.put_customers([msgspec.structs.replace(stores.graph.ties(["cust_u_1"])["cust_u_1"], user_id="cust_u_7")])
    for name in ("refresh", "verify"):
        definitions.resolve_job_def(name).execute_in_process(instance=instance, raise_on_error=False)
    ask(keyed, "cust_u_1")
    definitions.resolve_job_def("forget").execute_in_process(instance=instance, raise_on_error=False)
    kept = kept_by_dagster(tmp_path / "dagster")
    assert "quarantined" in kept
    assert "cust_" not in kept
    for record in RECORDS:
        if "message" in record:
            assert str(record["message"]) not in kept
    assert "confession" not in kept


def test_a_drivers_error_is_told_to_dagster_without_the_rows_that_it_was_about(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    @dg.op
    def failing() -> None:
        with surfaced():
            try:
                raise ValueError("bulk of {'message': 'a secret sentence'}")
            except ValueError as exc:
                raise Unavailable("mongodb", "it did not take the rows") from exc

    @dg.job
    def broken() -> None:
        failing()

    assert not broken.execute_in_process(instance=instance, raise_on_error=False).success
    kept = kept_by_dagster(tmp_path / "dagster")
    assert "it did not take the rows" in kept
    assert "a secret sentence" not in kept.replace(Path(__file__).read_text(), "")
