"""What MongoDB promises: whatever is put comes back exactly, putting it again changes nothing, and trouble has a name."""

import asyncio
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from traceback import format_exception

import numpy as np
import pytest
from msgspec.structs import asdict, replace
from pymongo import MongoClient
from pymongo.collection import Collection

from local.engines import RunningEngines
from stores.documents import Documents, DocumentsReader, Held, Quarantined, Stored
from stores.errors import ContractBroken, NotFound, Unavailable
from stores.models import Fit, Judgement
from stores.records import Campaign, FileReport, Record, Rejected, Release, content_hash
from stores.settings import BadSetting, Settings

FULL_RECORD = Record(
    message_id="m.1:a@b-c_d",
    user_id="u:1@shop.example-x",
    timestamp_ms=2**53 + 1,
    event="click",
    message="Zażółć gęślą jaźń 🙂 'quoted' \"twice\" back\\slash $set\ttab\nline\u2028 end\x00of it",
    role="agent",
    campaign_id="c_101",
    group="",
    intent="null",
    channel="123",
    session_id=" ",
    extra={
        "$where": "1",
        "a.b": {"": [1, 2.5, None, True, "x"], "_id": "no"},
        "żółć": 0.1 + 0.2,
        "int": 2**63,
        "huge": 10**30,
        "float": 1.0,
        "tiny": 5e-324,
        "it's": "'; DROP TABLE raw_docs; --",
        "x" * 2000: [],
    },
)
BARE_RECORD = Record(message_id=FULL_RECORD.message_id, user_id="0", timestamp_ms=-(2**40))
FULL_CAMPAIGN = Campaign(
    campaign_id="c.1:a@b-c",
    name="żółć",
    description="",
    category="1e5",
    channels=("email", "", "sms"),
    status="paused",
    starts_at_ms=0,
    ends_at_ms=2**53 + 1,
    priority=-(2**31),
    group="g",
    repeatable=True,
    extra={"nested": {"deep": [{}]}},
)
BARE_CAMPAIGN = Campaign(campaign_id=FULL_CAMPAIGN.campaign_id, name="")
RELEASE = Release(
    number=9,
    digest="d" * 64,
    message_vectors="message_vectors_a_384_f",
    user_vectors="user_vectors_a_384_f",
    model="a/b",
    dimension=384,
    sequence=3,
    rows={"raw_docs": 1},
    newest_record_ms=2**53 + 1,
    released_at_ms=1,
    run_id="r",
    campaign_vectors="campaign_vectors_a_384_f",
    ranking_model="0a1b",
    quality={"ndcg@10": 0.1 + 0.2, "cases": 7},
)


@pytest.fixture
def documents(settings: Settings) -> Iterator[Documents]:
    store = Documents(settings)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def raw_docs(settings: Settings) -> Iterator[Collection]:
    """The collection as anybody else could reach it."""
    with MongoClient(settings.mongo_url) as client:
        yield client[settings.mongo_database]["raw_docs"]


def stored(*entries: Record | Campaign, sequence: int = 1) -> list[Stored]:
    return [Stored(entry, content_hash(entry), sequence, line) for line, entry in enumerate(entries, start=1)]


def records(count: int) -> list[Record]:
    return [Record(message_id=f"r{n:05d}", user_id=f"u_{n % 40}", timestamp_ms=n, message=f"words of {n}") for n in range(count)]


def report(sequence: int, *, name: str = "a.jsonl", sha256: str = "a" * 64) -> FileReport:
    return FileReport(name=name, sha256=sha256, sequence=sequence, read=5, new=3, quarantined=2, taken_at_ms=2**53 + 1, run_id="run")


def assert_unavailable_within(timeout_s: float, call: Callable[[], object]) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable):
        call()
    assert time.monotonic() - started < timeout_s + 0.5


async def found_again(reader: DocumentsReader) -> None:
    """The driver looks for a server that it has lost twice a second."""
    for _ in range(5):
        with suppress(Unavailable):
            return await reader.ping()
    return await reader.ping()


# Records and campaigns


@pytest.mark.parametrize("entry", [FULL_RECORD, BARE_RECORD, FULL_CAMPAIGN, BARE_CAMPAIGN], ids=lambda entry: entry.key[:1])
def test_an_entry_comes_back_exactly_as_it_was_put(documents: Documents, entry: Record | Campaign) -> None:
    documents.put(stored(entry))
    back = documents.get([entry.key])
    assert back == {entry.key: entry}
    assert content_hash(back[entry.key]) == content_hash(entry)


@pytest.mark.parametrize(("first", "then"), [(FULL_RECORD, BARE_RECORD), (BARE_RECORD, FULL_RECORD), (FULL_CAMPAIGN, BARE_CAMPAIGN)])
def test_putting_another_version_changes_every_column_also_back_to_none(
    documents: Documents, first: Record | Campaign, then: Record | Campaign
) -> None:
    documents.put(stored(first, sequence=1))
    documents.put(stored(then, sequence=2))
    assert documents.get([then.key]) == {then.key: then}
    owner = then.user_id if isinstance(then, Record) else ""
    assert documents.held([then.key]) == {then.key: Held(content_hash(then), 2, 1, owner)}


def test_putting_the_same_again_changes_nothing(documents: Documents, raw_docs: Collection) -> None:
    documents.put(stored(FULL_RECORD, *records(300)))
    before = sorted(raw_docs.find(), key=lambda document: document["_id"])
    documents.put(stored(FULL_RECORD, *records(300)))
    assert sorted(raw_docs.find(), key=lambda document: document["_id"]) == before


def test_a_put_that_broke_off_is_mended_by_putting_it_again(documents: Documents) -> None:
    entries = stored(*records(500))
    documents.put(entries[:311])
    documents.put(entries)
    assert dict(documents.scan()) == {each.entry.key: Held(each.content_hash, 1, each.line, each.entry.user_id) for each in entries}


def test_of_two_entries_with_one_key_the_later_counts(documents: Documents) -> None:
    documents.put(stored(FULL_RECORD, BARE_RECORD))
    assert documents.get([FULL_RECORD.key]) == {FULL_RECORD.key: BARE_RECORD}


def test_five_thousand_entries_put_at_once_are_all_there(documents: Documents) -> None:
    entries = records(5000)
    documents.put(stored(*entries, FULL_CAMPAIGN))
    assert documents.get(entry.key for entry in entries) == {entry.key: entry for entry in entries}
    assert documents.counts()["raw_docs"] == 5000
    assert documents.counts()["campaigns"] == 1


def test_twenty_thousand_rows_are_scanned_in_bounded_memory_and_found_by_ten_thousand_ids(documents: Documents) -> None:
    entries = records(20_000)
    documents.put(stored(*entries))
    tracemalloc.start()
    keys = sum(1 for _ in documents.scan())
    _, scanning = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    kept = dict(documents.scan())
    _, keeping = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert keys == len(kept) == 20_000
    assert scanning < keeping / 3
    some = [entry.key for entry in entries[::2]]
    unknown = [f"m:unknown{n}" for n in range(500)]
    assert documents.held([*some, *unknown]) == {key: kept[key] for key in some}


def test_a_scan_may_take_longer_than_the_timeout_of_one_call(settings: Settings, documents: Documents) -> None:
    documents.put(stored(*records(4000)))
    patient = Documents(replace(settings, write_timeout_s=1.0))
    seen = 0
    for seen, _ in enumerate(patient.scan(), start=1):
        if seen % 1000 == 0:
            time.sleep(0.4)
    assert seen == 4000
    patient.close()


def test_many_writers_of_the_same_rows_agree(settings: Settings, documents: Documents) -> None:
    entries = stored(*records(600))

    def write(_: int) -> None:
        store = Documents(settings)
        store.put(entries)
        store.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert documents.counts()["raw_docs"] == 600
    assert documents.get(each.entry.key for each in entries) == {each.entry.key: each.entry for each in entries}


def test_deleting_removes_these_entries_and_no_others(documents: Documents) -> None:
    documents.put(stored(*records(3000), FULL_RECORD, FULL_CAMPAIGN))
    documents.delete([*(f"m:r{n:05d}" for n in range(2500)), FULL_CAMPAIGN.key, "m:unknown"])
    assert sorted(dict(documents.scan())) == sorted([*(f"m:r{n:05d}" for n in range(2500, 3000)), FULL_RECORD.key])
    documents.delete([])
    assert documents.counts()["raw_docs"] == 501


def test_a_customers_records_come_by_time_then_message_id(documents: Documents) -> None:
    mine = [
        Record(message_id=message_id, user_id="u:1.a@b", timestamp_ms=at) for message_id, at in [("z", 5), ("b", 7), ("a", 7), ("c", -1)]
    ]
    others = [Record(message_id=f"o{n}", user_id=f"u:{n}.a@b-", timestamp_ms=0) for n in range(1500)]
    documents.put(stored(*mine, *others))
    found = documents.records_of(["u:1.a@b", "nobody", *(other.user_id for other in others)])
    assert [record.message_id for record in found["u:1.a@b"]] == ["c", "z", "a", "b"]
    assert found["nobody"] == []
    assert all(found[other.user_id] == [other] for other in others)


def test_campaigns_come_by_id(documents: Documents) -> None:
    assert documents.campaigns() == []
    documents.put(stored(*(Campaign(campaign_id=f"c_{n}", name=str(n)) for n in (10, 2, 1)), FULL_CAMPAIGN))
    assert [campaign.campaign_id for campaign in documents.campaigns()] == ["c.1:a@b-c", "c_1", "c_10", "c_2"]


@pytest.mark.parametrize("key", ["x:1", "1", "", "e:1"])
def test_a_key_of_another_kind_is_refused(documents: Documents, key: str) -> None:
    for call in (documents.get, documents.held, documents.delete):
        with pytest.raises(ContractBroken, match="neither a record nor a campaign"):
            call([key])


@pytest.mark.parametrize("broken", [{"timestamp_ms": 2**63}, {"message": "half a pair \ud800"}])
def test_what_mongodb_cannot_hold_is_refused_by_name(documents: Documents, broken: dict[str, object]) -> None:
    entry = replace(BARE_RECORD, **broken)
    with pytest.raises(ContractBroken):
        documents.put([Stored(entry, "0" * 32, 1, 1)])
    documents.put(stored(BARE_RECORD))
    assert documents.get([entry.key]) == {entry.key: BARE_RECORD}


def test_a_document_that_is_no_record_is_named_and_not_skipped(documents: Documents, raw_docs: Collection) -> None:
    raw_docs.insert_one({"_id": "m:foreign", "user_id": "u_1", "timestamp_ms": "yesterday"})
    for call in (lambda: documents.get(["m:foreign"]), lambda: documents.records_of(["u_1"]), lambda: dict(documents.scan())):
        with pytest.raises(ContractBroken, match="m:foreign"):
            call()


# Embeddings


def test_a_thousand_embeddings_come_back_to_the_bit(documents: Documents) -> None:
    rows = np.random.default_rng(7).normal(size=(1000, 1024)).astype(np.float32)
    rows[0, :6] = [0.0, -0.0, np.finfo(np.float32).tiny / 2, np.inf, np.nan, np.float32(1) / 3]
    vectors = {f"{n:064x}": row for n, row in enumerate(rows)}
    documents.put_embeddings("some/model", vectors)
    documents.put_embeddings("some/model", vectors)
    back = documents.embeddings([*vectors, "f" * 64])
    assert back.keys() == vectors.keys()
    assert all(back[key].dtype == np.float32 and back[key].tobytes() == vectors[key].tobytes() for key in vectors)
    assert documents.known_embeddings([*vectors, "f" * 64]) == set(vectors)
    assert documents.counts()["embeddings"] == 1000


# Files and quarantine


def test_sequence_numbers_only_grow_and_none_is_given_twice(settings: Settings, documents: Documents) -> None:
    assert documents.next_sequence() == 1
    another = Documents(settings)
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda _: another.next_sequence(), range(40)))
    assert sorted(given) == list(range(2, 42))
    another.close()


def test_files_come_newest_first(documents: Documents) -> None:
    reports = [report(sequence, name=f"{sequence}.csv") for sequence in range(1, 13)]
    for each in reports:
        documents.put_file(each)
    assert documents.files(limit=100) == reports[::-1]
    assert documents.files(limit=2) == [reports[11], reports[10]]


def test_a_file_is_known_by_name_and_content_and_its_latest_report_counts(documents: Documents) -> None:
    name = "dir/żółć 'a' \"b\" $x 1e5.jsonl"
    for each in (
        report(1, name=name),
        report(12, name=name),
        report(3, name=name),
        report(20, name="other"),
        report(21, name=name, sha256="b" * 64),
    ):
        documents.put_file(each)
    assert documents.taken(name, "a" * 64) == report(12, name=name)
    assert documents.taken(name, "c" * 64) is None
    documents.put_file(replace(report(12, name=name), new=4, quarantined=1))
    assert documents.taken(name, "a" * 64) == replace(report(12, name=name), new=4, quarantined=1)


def test_what_could_not_be_read_is_kept_once_with_its_place_and_its_text(documents: Documents) -> None:
    raws = ['{"a": ', "", "żółć\x00\ufffd", "x" * 100_000]
    rejected = [Rejected(line=line, reason=f"reason {line}", raw=raw) for line, raw in enumerate(raws, start=1)]
    documents.put_quarantined(report(3), rejected)
    documents.put_quarantined(report(3), rejected)
    documents.put_quarantined(report(4, name="b", sha256="b" * 64), rejected[:1])
    newer = Quarantined(name="b", sha256="b" * 64, sequence=4, line=1, reason="reason 1", raw='{"a": ')
    older = [Quarantined(name="a.jsonl", sha256="a" * 64, sequence=3, **asdict(each)) for each in reversed(rejected)]
    assert documents.quarantined(limit=100) == [newer, *older]
    assert documents.quarantined(limit=1) == [newer]


def test_text_that_is_no_unicode_can_still_be_quarantined(documents: Documents) -> None:
    documents.put_quarantined(report(1), [Rejected(line=1, reason="not UTF-8", raw=b"\xff\xfe".decode("utf-8", "surrogateescape"))])
    assert [each.raw for each in documents.quarantined(limit=1)] == ["\\udcff\\udcfe"]


# Releases and state


def test_the_latest_release_is_the_one_with_the_greatest_number(settings: Settings, documents: Documents) -> None:
    async def read() -> Release | None:
        reader = DocumentsReader(settings)
        await reader.ping()
        latest = await reader.latest_release()
        await reader.close()
        return latest

    assert documents.latest_release() is None
    assert asyncio.run(read()) is None
    for number in (9, 10, 2):
        documents.put_release(replace(RELEASE, number=number))
    assert documents.latest_release() == asyncio.run(read()) == replace(RELEASE, number=10)
    assert documents.releases(limit=2) == [replace(RELEASE, number=10), RELEASE]
    assert documents.release(2) == replace(RELEASE, number=2)
    with pytest.raises(NotFound):
        documents.release(3)


def test_a_release_is_written_once_and_never_over_another(documents: Documents) -> None:
    documents.put_release(RELEASE)
    documents.put_release(RELEASE)
    with pytest.raises(ContractBroken, match="another release 9"):
        documents.put_release(replace(RELEASE, digest="other"))
    assert documents.latest_release() == RELEASE
    assert documents.counts()["releases"] == 1


def test_a_ranking_model_is_found_by_its_version_until_it_is_not_among_those_kept(settings: Settings, documents: Documents) -> None:
    async def read(version: str) -> str:
        reader = DocumentsReader(settings)
        try:
            return await reader.ranking_model(version)
        finally:
            await reader.close()

    for version, body in (("rrf", "{}"), ("0a1b", '{"why": "first"}'), ("0a1b", '{"why": "żółć"}')):
        documents.models.put(version, body)
    assert documents.models.body("0a1b") == asyncio.run(read("0a1b")) == '{"why": "żółć"}'
    assert (documents.models.has("0a1b"), documents.models.has("never")) == (True, False)
    assert documents.models.keep(["0a1b", "", "never"]) == 1
    assert documents.models.keep(["0a1b"]) == 0
    with pytest.raises(NotFound):
        documents.models.body("rrf")
    with pytest.raises(NotFound):
        asyncio.run(read("rrf"))


def test_the_latest_fit_and_judgement_are_the_ones_that_were_set_last(documents: Documents) -> None:
    assert (documents.models.fit(), documents.models.judgement()) == (None, None)
    fit = Fit(model="0a1b", made_by="c", records=7, outcomes=0)
    judged = Judgement(model="0a1b", made_by="c", records=7, outcomes=0, report='{"cases": 3}', quality={"ndcg@10": 0.1 + 0.2})
    for records in (1, 7):
        documents.models.set_fit(replace(fit, records=records))
        documents.models.set_judgement(replace(judged, records=records))
    assert (documents.models.fit(), documents.models.judgement()) == (fit, judged)


def test_the_files_that_a_release_reflects_are_confirmed_by_number(settings: Settings, documents: Documents) -> None:
    assert documents.confirmed() == 0
    documents.confirm(3)
    documents.confirm(12)
    another = Documents(settings)
    assert another.confirmed() == 12
    another.close()


def test_a_stamp_is_what_was_last_set_under_its_name(documents: Documents) -> None:
    assert documents.stamp("raw_docs") is None
    documents.set_stamp("raw_docs", "first")
    documents.set_stamp("raw_docs", "second: ż")
    documents.set_stamp("embeddings", "")
    assert (documents.stamp("raw_docs"), documents.stamp("embeddings")) == ("second: ż", "")


def test_preparing_twice_changes_nothing(documents: Documents) -> None:
    documents.put(stored(FULL_RECORD))
    documents.prepare()
    assert documents.get([FULL_RECORD.key]) == {FULL_RECORD.key: FULL_RECORD}
    assert documents.counts() == {"raw_docs": 1, "campaigns": 0, "embeddings": 0, "files": 0, "intake": 0, "quarantine": 0, "releases": 0}


def test_a_database_of_another_schema_version_is_refused_in_one_line(documents: Documents, raw_docs: Collection) -> None:
    raw_docs.database["platform_state"].update_one({"_id": "schema"}, {"$set": {"version": 2}})
    with pytest.raises(ContractBroken, match=r"^mongodb: the database has schema version 2, this code needs 1$"):
        documents.prepare()


# Trouble


def test_acknowledged_rows_survive_a_crash_of_the_server(engines: RunningEngines, documents: Documents) -> None:
    entries = records(1000)
    documents.put(stored(*entries))
    engines.kill("mongodb")
    engines.start("mongodb")
    assert documents.get(entry.key for entry in entries) == {entry.key: entry for entry in entries}


def test_a_server_that_is_down_is_unavailable_in_time_and_found_again(engines: RunningEngines, settings: Settings) -> None:
    documents = Documents(replace(settings, write_timeout_s=1.0))
    documents.prepare()
    engines.stop("mongodb")
    for call in (documents.ping, documents.counts, lambda: documents.put(stored(FULL_RECORD)), lambda: dict(documents.scan())):
        assert_unavailable_within(1.0, call)
    engines.start("mongodb")
    documents.put(stored(FULL_RECORD))
    assert documents.get([FULL_RECORD.key]) == {FULL_RECORD.key: FULL_RECORD}
    documents.close()


def test_a_server_that_is_silent_is_unavailable_in_time_and_found_again(engines: RunningEngines, settings: Settings) -> None:
    impatient = replace(settings, write_timeout_s=1.0, read_timeout_s=0.5)
    documents = Documents(impatient)
    documents.prepare()

    async def through_a_pause() -> None:
        reader = DocumentsReader(impatient)
        await reader.ping()
        engines.pause("mongodb")
        started = time.monotonic()
        for call in (reader.ping, reader.latest_release):
            with pytest.raises(Unavailable):
                await call()
        assert time.monotonic() - started < 1.5
        for blocking in (documents.ping, lambda: documents.put(stored(FULL_RECORD)), lambda: dict(documents.scan())):
            assert_unavailable_within(1.0, blocking)
        engines.resume("mongodb")
        await found_again(reader)
        await reader.close()

    asyncio.run(through_a_pause())
    documents.put(stored(FULL_RECORD))
    assert documents.get([FULL_RECORD.key]) == {FULL_RECORD.key: FULL_RECORD}
    documents.close()


def test_no_error_shows_the_credentials_of_the_url() -> None:
    documents = Documents(Settings(mongo_url="mongodb://someone:s3cret@127.0.0.1:1", write_timeout_s=0.3))
    with pytest.raises(Unavailable) as failed:
        documents.ping()
    shown = "".join(format_exception(failed.value))
    assert "127.0.0.1:1" in shown
    assert "s3cret" not in shown
    documents.close()


@pytest.mark.parametrize("url", ["http://u:s3cret@h", "mongodb://u:s3cret@x@h:1", "mongodb://u:s3/cret@h", "mongodb://u:s3%cret@h"])
def test_a_url_that_cannot_be_read_is_named_by_its_variable_and_not_repeated(url: str) -> None:
    for store in (Documents, DocumentsReader):
        with pytest.raises(BadSetting, match="CAMPAIGNS_MONGO_URL") as failed:
            store(Settings(mongo_url=url))
        assert "cret" not in "".join(format_exception(failed.value))
