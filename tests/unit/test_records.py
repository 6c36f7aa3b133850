"""What is kept survives being written down, is equal to what it was, and is told apart from everything else."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from stores.records import Campaign, FileReport, Profile, Record, Rules, Tombstone, content_hash, epoch_ms, iso
from tests.unit.entries import campaigns, entries, records

MOMENTS = st.integers(epoch_ms(datetime(1, 1, 1)), epoch_ms(datetime(9999, 12, 31, 23, 59, 59, 999_000)))
ZONES = st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(
    lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
)


@given(entries())
def test_an_entry_survives_being_written_as_json(entry: Record | Campaign) -> None:
    assert msgspec.json.decode(msgspec.json.encode(entry), type=type(entry)) == entry


@given(entries())
def test_equal_content_has_an_equal_hash_in_whatever_order_its_fields_came(entry: Record | Campaign) -> None:
    backwards = dict(reversed(asdict(entry).items())) | {"extra": dict(reversed(entry.extra.items()))}
    assert content_hash(type(entry)(**backwards)) == content_hash(entry)
    assert len(content_hash(entry)) == 32


@given(entries(), entries())
def test_different_content_has_a_different_hash(one: Record | Campaign, other: Record | Campaign) -> None:
    same = type(one) is type(other) and msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
    assert (content_hash(one) == content_hash(other)) == same


@pytest.mark.parametrize(
    "change",
    [
        {"message_id": "b"},
        {"user_id": "v"},
        {"timestamp_ms": 2},
        {"event": "click"},
        {"message": ""},
        {"role": "agent"},
        {"campaign_id": "c"},
        {"group": ""},
        {"intent": ""},
        {"channel": ""},
        {"session_id": ""},
        {"profile": Profile()},
        {"extra": {"": None}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_a_record_counts_in_its_hash(change: dict[str, object]) -> None:
    record = Record(message_id="a", user_id="u", timestamp_ms=1)
    assert content_hash(replace(record, **change)) != content_hash(record)


def test_a_hash_is_the_same_in_every_process_and_version() -> None:
    # The ledgers hold hashes of earlier versions: when this one changes, every record counts as changed once.
    assert (
        content_hash(Record(message_id="m1", user_id="u_1", timestamp_ms=1_700_000_000_000, message="żółć"))
        == "40e7edbd86be38bbaccf190883871ea4"
    )
    assert content_hash(Campaign(campaign_id="c_1", name="Spring", channels=("email",))) == "6579d263d4f2c035b8b0fd7575299064"


def test_rules_count_in_the_hash_of_a_campaign_and_their_absence_does_not() -> None:
    plain = Campaign(campaign_id="c_1", name="Spring", channels=("email",))
    assert content_hash(replace(plain, rules=Rules())) == content_hash(plain)
    assert content_hash(replace(plain, rules=Rules(fallback=True))) != content_hash(plain)


@given(MOMENTS)
def test_epoch_milliseconds_and_iso_text_are_the_same_moment_to_the_millisecond(timestamp_ms: int) -> None:
    assert epoch_ms(datetime.fromisoformat(iso(timestamp_ms))) == timestamp_ms


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)), ZONES)
def test_a_moment_is_the_same_in_every_time_zone_and_a_naive_one_is_utc(moment: datetime, zone: timezone) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert epoch_ms(moment) == epoch_ms(aware) == epoch_ms(aware.astimezone(zone))


@pytest.mark.parametrize(
    ("timestamp_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1500, "1970-01-01T00:00:01.500Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_485_907_200_000, "2017-02-01T00:00:00Z"),
    ],
)
def test_iso_shows_milliseconds_only_where_there_are_some(timestamp_ms: int, text: str) -> None:
    assert iso(timestamp_ms) == text


@pytest.mark.parametrize("good", ["a", "0", "u_001", "A.b:c@d-e_f", "x" * 128])
def test_an_id_of_the_pattern_is_taken(good: str) -> None:
    assert msgspec.convert({"message_id": good}, Tombstone).message_id == good


@pytest.mark.parametrize("bad", ["", "_a", "-a", ".a", "a b", "a\n", "a\x00", "a'b", 'a"b', "a$b", "a/b", "a?b", "ż", "x" * 129, 7, None])
def test_any_other_id_is_refused(bad: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"message_id": bad}, Tombstone)


@given(records(), campaigns())
def test_a_key_says_what_it_is_the_key_of(record: Record, campaign: Campaign) -> None:
    assert record.key == Tombstone(message_id=record.message_id).key == f"m:{record.message_id}"
    assert campaign.key == f"c:{campaign.campaign_id}"


@pytest.mark.parametrize(
    ("change", "speaks"),
    [({}, True), ({"role": "agent"}, False), ({"event": "click"}, False), ({"message": ""}, False), ({"message": None}, False)],
)
def test_only_a_customers_own_words_speak(change: dict[str, object], speaks: bool) -> None:
    assert replace(Record(message_id="a", user_id="u", timestamp_ms=1, message="hello"), **change).speaks is speaks


PARTS = ["new", "changed", "unchanged", "deleted", "suppressed", "superseded", "quarantined"]


@given(st.lists(st.integers(0, 1000), min_size=len(PARTS), max_size=len(PARTS)), st.integers(-3, 3))
def test_a_report_balances_when_every_record_read_is_accounted_for_once(counts: list[int], missing: int) -> None:
    report = FileReport(name="a", sha256="b", sequence=1, read=sum(counts) + missing, **dict(zip(PARTS, counts, strict=True)))
    assert report.balances is (missing == 0)
