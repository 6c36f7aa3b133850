"""What each store promises to whoever forgets a customer: theirs is found and removed, whoever else is there."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from stores.cache import ERASED, Cache, CacheReader, CacheView, Entry
from stores.documents import Documents, DocumentsReader, Stored
from stores.erasures import Erasures, checked_key
from stores.errors import ContractBroken, NotFound
from stores.ledger import Change, Ledger
from stores.mongodb import Database
from stores.records import FileReport, Record, Rejected, content_hash
from stores.settings import BadSetting, Settings
from stores.sql import open_engine
from stores.suppression import NOBODY, mark_of
from stores.vectors import MessageVector, Vectors

KEY, OTHER_KEY = "a" * 32, "b" * 32
MESSAGES, USERS, TEXTS = "message_vectors_tiny_4_t", "user_vectors_tiny_4_t", "campaign_vectors_tiny_4_t"
VECTOR = np.array([1, 0, 0, 0], np.float32)


@pytest.fixture
def documents(settings: Settings) -> Iterator[Documents]:
    store = Documents(settings)
    store.prepare()
    yield store
    store.close()


def viewed(settings: Settings, user_id: str) -> CacheView:
    async def read() -> CacheView:
        reader = CacheReader(settings)
        view = await reader.read(user_id, "10")
        await reader.close()
        return view

    return asyncio.run(read())


def answered(settings: Settings, user_id: str, epoch: int) -> None:
    async def write() -> None:
        reader = CacheReader(settings)
        await reader.write(user_id, "10", Entry(release=1, epoch=epoch, body=b"{}"), ttl_s=60)
        await reader.close()

    asyncio.run(write())


def test_a_customer_who_is_being_forgotten_is_marked_until_that_is_lifted(settings: Settings) -> None:
    cache = Cache(settings)
    answered(settings, "u_1", 0)
    answered(settings, "u_10", 0)
    assert (cache.revealing("u_1"), viewed(settings, "u_1").erased) == (1, False)
    cache.suppress("u_1")
    cache.bump_user("u_1")
    answered(settings, "u_1", 0)  # one that was being computed draws no other epoch
    assert (viewed(settings, "u_1").erased, viewed(settings, "u_1").fresh) == (True, False)
    cache.forget("u_1")
    answered(settings, "u_1", ERASED)
    assert (cache.revealing("u_1"), viewed(settings, "u_1").entry) == (0, Entry(release=1, epoch=ERASED, body=b"{}"))
    cache.lift("u_1")
    assert viewed(settings, "u_1") == CacheView(release=None, epoch=0, entry=None)
    assert viewed(settings, "u_10").entry is not None
    cache.close()


def test_vectors_are_found_by_their_customer(settings: Settings) -> None:
    vectors = Vectors(settings)
    vectors.prepare(messages=MESSAGES, users=USERS, campaigns=TEXTS, dimension=4)
    rows = [
        MessageVector(message_id=f"m{n}", user_id=user_id, timestamp_ms=n, vector=VECTOR)
        for n, user_id in enumerate(["u_1", "u_10", "u_1"])
    ]
    vectors.upsert_messages(MESSAGES, rows)
    vectors.upsert_users(USERS, {"u_1": VECTOR, "u_10": VECTOR})
    assert sorted(vectors.ids_of(MESSAGES, "u_1")) == ["m0", "m2"]
    vectors._client.release_collection(MESSAGES)  # as after a restart of the embedded engine
    assert sorted(vectors.ids_of(MESSAGES, "u_1")) == ["m0", "m2"]
    assert (vectors.ids_of(USERS, "u_1"), vectors.ids_of(USERS, "u_2")) == (["u_1"], [])
    with pytest.raises(ContractBroken, match="not an id"):
        vectors.ids_of(USERS, '" or user_id != "')
    vectors.close()


def test_a_ledger_names_a_customer_until_their_rows_are_dropped(settings: Settings) -> None:
    ledger = Ledger(open_engine(settings))
    ledger.prepare()
    for store in ("one", "other"):
        ledger.intend(store, [Change("m:1", "h", "u_1"), Change("m:2", "h", "u_2"), Change("m:3", "h", "u_2")])
        ledger.note(store, [Change("m:2", "h", "u_2"), Change("m:3", "h", "u_1")], held={"m:2"})
    assert ledger.naming("u_1") == {"one": 2, "other": 2}
    ledger.drop_owner("one", "u_1")
    assert (ledger.naming("u_1"), ledger.naming("u_2")) == ({"other": 2}, {"one": 1, "other": 2})
    assert ledger.naming("nobody") == {}


def test_an_erasure_is_pending_until_it_is_done_and_then_keeps_no_id(settings: Settings, documents: Documents) -> None:
    async def being_erased() -> frozenset[str]:
        reader = DocumentsReader(settings)
        found = await reader.being_erased()
        await reader.close()
        return found

    erasures = documents.erasures
    assert erasures.suppression("") == NOBODY
    asked = erasures.request("u_1", key=KEY, now_ms=5)
    assert erasures.request("u_1", key=KEY, now_ms=9) == asked
    assert (erasures.pending(), asyncio.run(being_erased())) == ([asked], {"u_1"})
    erasures.done(asked, left={"x": 0}, now_ms=7)
    assert (erasures.pending(), asyncio.run(being_erased())) == ([], frozenset())
    done = erasures.get(asked.mark)
    assert done is not None
    assert (done.user_id, done.done_at_ms, done.left) == ("", 7, {"x": 0})
    assert erasures.suppression(KEY).marks == {mark_of("u_1", KEY)}
    assert erasures.request("u_1", key=KEY, now_ms=9).requested_at_ms == 9


def test_another_key_and_a_short_one_are_refused(settings: Settings, documents: Documents) -> None:
    documents.erasures.request("u_1", key=KEY, now_ms=1)
    again = Erasures(Database(settings))
    for use in (lambda: again.suppression(OTHER_KEY), lambda: again.request("u_2", key=OTHER_KEY, now_ms=1)):
        with pytest.raises(ContractBroken, match="not the key"):
            use()
    with pytest.raises(BadSetting, match="not set"):
        again.suppression("")
    with pytest.raises(BadSetting, match="shorter than 32"):
        checked_key("a" * 31)


def test_what_customers_said_is_read_through_and_embeddings_are_dropped_by_key(documents: Documents) -> None:
    said = [
        Record(message_id="1", user_id="u", timestamp_ms=1, message="spoken"),
        Record(message_id="2", user_id="u", timestamp_ms=1, message="answered", role="agent"),
        Record(message_id="3", user_id="u", timestamp_ms=1, message="clicked", event="click"),
    ]
    documents.put([Stored(record, content_hash(record), 1, 1) for record in said])
    assert list(documents.texts()) == ["spoken"]
    documents.put_embeddings("m", {"aa": VECTOR, "bb": VECTOR})
    documents.delete_embeddings(["aa", "none"])
    assert list(documents.embedding_keys()) == ["bb"]


def test_a_quarantined_record_is_found_by_the_beginning_of_its_id(documents: Documents) -> None:
    file = FileReport(name="a.jsonl", sha256="a" * 64, sequence=1)
    documents.put_quarantined(file, [Rejected(line=line, reason=f"Reason {line}", raw=f"{{{line}") for line in range(1, 200)])
    one, *_ = everything = documents.quarantine.newest(0)
    assert len({each.id for each in everything}) == 199
    assert documents.quarantine.one(one.digest) == documents.quarantine.one(one.id[:6]) == one
    assert [each.line for each in documents.quarantine.newest(2, file="a.jsonl", reason="REASON 1")] == [199, 198]
    with pytest.raises(NotFound, match="zzzzzz"):
        documents.quarantine.one("zzzzzz")
    with pytest.raises(ContractBroken, match="too short"):
        documents.quarantine.one(one.id[:5])
    documents.quarantine.replaying([one], "r.jsonl")
    documents.quarantine.put_reason(one, "another reason")
    assert (documents.quarantine.one(one.id).replayed_in, documents.quarantine.one(one.id).reason) == ("r.jsonl", "another reason")
    documents.quarantine.replayed("r.jsonl")
    documents.quarantine.drop(everything[1:3])
    assert len(list(documents.quarantine.all())) == 196
    documents.quarantine.drop_file("a" * 64)
    assert documents.quarantined(10) == []
