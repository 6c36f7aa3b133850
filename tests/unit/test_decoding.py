import hashlib
import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.decoding import decode_record
from stores.fields import MAX_LABEL_CHARS, MAX_TEXT_CHARS, Unreadable
from stores.records import Campaign, Record, Tombstone, content_hash, epoch_ms

AT = "2026-06-01T09:30:00Z"
AT_MS = epoch_ms(datetime(2026, 6, 1, 9, 30, tzinfo=UTC))
SAID = {"message_id": "m1", "user_id": "u1", "timestamp": AT, "message": "Do you have it in green?"}


def said(**changed: object) -> Record:
    entry = decode_record(SAID | changed)
    assert isinstance(entry, Record)
    return entry


def offered(**changed: object) -> Campaign:
    entry = decode_record({"campaign_id": "c1", "name": "Spring sale"} | changed)
    assert isinstance(entry, Campaign)
    return entry


def test_a_plain_message_needs_no_event_and_no_role():
    assert said() == Record(message_id="m1", user_id="u1", timestamp_ms=AT_MS, message="Do you have it in green?")


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [
        ("userid", "user_id", "u7"),
        ("campaign", "campaign_id", "c7"),
        ("text", "message", "Hello there"),
        ("type", "event", "click"),
        ("record_id", "message_id", "m7"),
        ("interaction_id", "message_id", "m8"),
    ],
)
def test_an_alias_is_read_as_the_field_it_stands_for(alias, name, value):
    entry = decode_record({key: kept for key, kept in SAID.items() if key != name} | {alias: value})
    assert (getattr(entry, name), entry.extra) == (value, {})


def test_a_canonical_name_wins_and_the_alias_is_kept_as_an_unknown_field():
    entry = said(event="click", type="web", text="another text", userid=None)
    assert (entry.event, entry.message) == ("click", SAID["message"])
    assert entry.extra == {"type": "web", "text": "another text", "userid": None}


def test_an_alias_fills_in_for_a_canonical_name_that_is_blank():
    assert said(message="  ", text="Really?").message == "Really?"


def test_an_alias_of_records_is_no_alias_in_a_campaign():
    campaign = offered(type="seasonal", text="small print", campaign="c9")
    assert campaign == Campaign(campaign_id="c1", name="Spring sale", extra={"type": "seasonal", "text": "small print", "campaign": "c9"})
    assert decode_record({"campaign": "c2", "name": "Autumn"}) == Campaign(campaign_id="c2", name="Autumn")


def test_a_row_with_a_user_is_a_record_even_where_it_names_a_campaign():
    assert isinstance(decode_record(SAID | {"campaign_id": "c1", "name": "Spring sale"}), Record)
    assert isinstance(decode_record({"user_id": "", "campaign_id": "c1", "name": "Spring sale"}), Campaign)


@pytest.mark.parametrize("deleted", [True, "true", "Yes", 1, "1"])
def test_a_deletion_is_a_tombstone_whatever_else_the_row_says(deleted):
    assert decode_record({"record_id": 5, "deleted": deleted, "user_id": "u1"}) == Tombstone(message_id="5")


@pytest.mark.parametrize("deleted", [False, "false", "no", 0, None, "", " "])
def test_a_row_that_is_not_deleted_is_an_ordinary_one(deleted):
    assert said(deleted=deleted) == said()


def test_a_record_without_an_id_gets_one_from_its_normalised_content():
    without = {"userid": 7, "timestamp": "2026-06-01 11:30:00+02:00", "text": "Grüße, «you»", "type": "chat", "campaign": " c1 "}
    content = ["7", "c1", AT_MS, "message", "Grüße, «you»"]
    expected = hashlib.sha256(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
    assert decode_record(without).message_id == expected
    assert decode_record({**without, "channel": "web", "timestamp": AT}).message_id == expected
    assert decode_record({**without, "event": "click"}).message_id != expected


def test_mailings_of_two_groups_at_one_moment_are_two_records():
    mailing = {"user_id": "u1", "timestamp": AT, "event": "mailing", "group": "spring"}
    other = {**mailing, "group": "summer"}
    assert decode_record(mailing).message_id == decode_record({**mailing, "type": "mailing", "group": " spring "}).message_id
    assert decode_record(mailing).message_id != decode_record(other).message_id


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [(12, "12"), (12.0, "12"), (1.5, "1.5"), (2**63 - 1, "9223372036854775807"), (" a@b.c ", "a@b.c"), ("A" * 128, "A" * 128)],
)
def test_a_number_given_as_an_id_becomes_its_text(given_id, kept):
    assert said(user_id=given_id).user_id == kept


@pytest.mark.parametrize(
    "moment",
    [
        AT,
        "2026-06-01T09:30:00",
        "2026-06-01 09:30",
        "2026-06-01t09:30:00z",
        "2026-06-01T11:30:00+02:00",
        "2026-06-01T04:30:00.000000-0500",
        " 20260601T093000Z ",
        AT_MS,
        AT_MS // 1000,
        AT_MS / 1000,
        str(AT_MS),
        str(AT_MS // 1000),
    ],
)
def test_every_way_of_writing_a_moment_means_the_same_moment(moment):
    assert said(timestamp=moment).timestamp_ms == AT_MS


def test_a_date_alone_is_its_midnight_in_utc():
    assert said(timestamp="2026-06-01").timestamp_ms == epoch_ms(datetime(2026, 6, 1, tzinfo=UTC))
    assert said(timestamp="20260601").timestamp_ms == epoch_ms(datetime(2026, 6, 1, tzinfo=UTC))


def test_thirteen_digits_are_never_taken_for_a_year():
    assert said(timestamp="1710101012345").timestamp_ms == 1710101012345


def test_words_are_kept_to_the_letter_and_labels_are_normalised():
    entry = said(message="  Cafe\u0301?\r\n", intent=" cafe\u0301 ", channel="web\t", session_id=12, group=3.0)
    assert (entry.message, entry.intent, entry.channel, entry.session_id, entry.group) == ("  Cafe\u0301?\r\n", "café", "web", "12", "3")


def test_an_event_needs_no_message_unless_it_is_one():
    assert said(event="Impression", message=None).event == "impression"
    assert said(event="chat").event == "message"
    assert said(event="").event == "message"
    assert said(role="Agent").role == "agent"


def test_unknown_fields_are_kept_with_those_gathered_under_extra():
    assert said(mood="good", extra={"a": [1, None, {"b": 2.5}]}).extra == {"mood": "good", "a": [1, None, {"b": 2.5}]}
    assert said(extra='{"a": 1}').extra == {"a": 1}
    assert said(extra="not json").extra == {"extra": "not json"}
    assert said(extra={"extra": {"deeper": 1}}).extra == {"extra": {"deeper": 1}}
    assert said(extra={"a": 1}, a=1).extra == {"a": 1}


def test_a_campaign_is_read_from_typed_values():
    campaign = offered(
        description="  Up to a third off.",
        category="Tents",
        channels=["email", " web ", "email", None, ""],
        status="Paused",
        starts_at="2026-06-01",
        ends_at="2026-07-01",
        priority=3,
        group="summer",
        repeatable=True,
        margin=0.2,
    )
    assert campaign == Campaign(
        campaign_id="c1",
        name="Spring sale",
        description="  Up to a third off.",
        category="Tents",
        channels=("email", "web"),
        status="paused",
        starts_at_ms=epoch_ms(datetime(2026, 6, 1)),
        ends_at_ms=epoch_ms(datetime(2026, 7, 1)),
        priority=3,
        group="summer",
        repeatable=True,
        extra={"margin": 0.2},
    )


@pytest.mark.parametrize("channels", ["email|sms", "email;sms", "email, sms", '["email", "sms"]', ["email", "sms"]])
def test_channels_may_be_a_list_or_a_text_that_holds_one(channels):
    assert offered(channels=channels).channels == ("email", "sms")


def test_numbers_and_truths_of_campaigns_may_be_text():
    campaign = offered(priority=" -4 ", repeatable="Yes")
    assert (campaign.priority, campaign.repeatable) == (-4, True)
    assert (offered(priority="", repeatable="").priority, offered(repeatable="0").repeatable) == (0, False)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({}, "user_id is missing, and only campaign_id with name makes a campaign; the record has no fields"),
        ({"User": 1, "ts": 2}, "the record has User, ts"),
        ({"campaign_id": "c1"}, "user_id is missing"),
        ({"user_id": "u1", "message": "Hi", "time": AT}, "timestamp is missing: expected ISO 8601"),
        (SAID | {"timestamp": "yesterday"}, "timestamp is 'yesterday': expected ISO 8601"),
        (SAID | {"timestamp": 20260601}, "timestamp is 20260601: expected ISO 8601"),
        (SAID | {"timestamp": "2026-13-01"}, "timestamp is '2026-13-01'"),
        (SAID | {"timestamp": "1899-12-31"}, "expected a time between 1900 and 9999"),
        (SAID | {"timestamp": "0001-01-01T00:00:00+14:00"}, "expected a time between 1900 and 9999"),
        (SAID | {"timestamp": True}, "timestamp is true"),
        (SAID | {"timestamp": math.nan}, "timestamp is nan"),
        (SAID | {"timestamp": 10**400}, "timestamp is a number beyond 64 bits"),
        (SAID | {"timestamp": {"$date": AT}}, "timestamp is an object"),
        (SAID | {"user_id": "two words"}, "user_id is 'two words': expected 1 to 128 of A-Z"),
        (SAID | {"user_id": "u1\n2"}, "user_id is 'u1\\n2'"),
        (SAID | {"user_id": "ü1"}, "user_id is 'ü1'"),
        (SAID | {"user_id": "A" * 129}, "user_id is 'AAAA"),
        (SAID | {"user_id": -5}, "user_id is '-5'"),
        (SAID | {"user_id": True}, "user_id is true: expected text"),
        (SAID | {"user_id": ["u1"]}, "user_id is a list: expected text"),
        (SAID | {"user_id": 2**63}, "user_id is a number beyond 64 bits"),
        (SAID | {"user_id": math.inf}, "user_id is inf"),
        (
            SAID | {"event": "purchase"},
            "event is 'purchase': expected one of message, impression, click, conversion, dismissal",
        ),
        (SAID | {"event": 3}, "event is 3"),
        (SAID | {"role": "robot"}, "role is 'robot': expected one of customer, agent"),
        (SAID | {"message": " \n\t "}, "message is missing"),
        (SAID | {"message": {"text": "Hi"}}, "message is an object: expected text"),
        (SAID | {"message": "a\0b"}, "message is 'a\\x00b': a NUL character cannot be kept"),
        (SAID | {"message": "half \ud83d"}, "message is 'half \\ud83d': not valid Unicode text"),
        (SAID | {"message": "x" * (MAX_TEXT_CHARS + 1)}, "message has 32,769 characters: expected at most 32,768"),
        (SAID | {"intent": "x" * (MAX_LABEL_CHARS + 1)}, "intent has 129 characters: expected at most 128"),
        (SAID | {"deleted": "perhaps"}, "deleted is 'perhaps': expected true or false"),
        ({"campaign_id": "c1", "deleted": True}, "message_id is missing: a deletion names its record by it"),
        ({"message_id": " ", "deleted": True}, "message_id is missing"),
        (SAID | {"mood": 2**63}, "extra.mood is a number beyond 64 bits"),
        (SAID | {"mood": [math.nan]}, "extra.mood is nan"),
        (SAID | {"mood": {"a": "\ud800"}}, "extra.mood.a is '\\ud800'"),
        (SAID | {"mood": "good", "extra": {"mood": "bad"}}, "'mood' is given twice"),
        ({"campaign_id": "c 1", "name": "Sale"}, "campaign_id is 'c 1'"),
        ({"campaign_id": "c1", "name": ["Sale"]}, "name is a list"),
        ({"campaign_id": "c1", "name": "N" * 501}, "name has 501 characters"),
        ({"campaign_id": "c1", "name": "Sale", "status": "live"}, "status is 'live': expected one of active, paused, ended"),
        ({"campaign_id": "c1", "name": "Sale", "priority": "high"}, "priority is 'high': expected a whole number"),
        ({"campaign_id": "c1", "name": "Sale", "priority": 2**31}, "priority is 2147483648"),
        ({"campaign_id": "c1", "name": "Sale", "priority": 1.5}, "priority is 1.5"),
        ({"campaign_id": "c1", "name": "Sale", "repeatable": "often"}, "repeatable is 'often': expected true or false"),
        ({"campaign_id": "c1", "name": "Sale", "channels": {"email": True}}, "channels is an object: expected a list"),
        ({"campaign_id": "c1", "name": "Sale", "channels": [["email"]]}, "channels is a list: expected text"),
        ({"campaign_id": "c1", "name": "Sale", "channels": "[email"}, "channels is '[email'"),
        ({"campaign_id": "c1", "name": "Sale", "channels": [str(n) for n in range(33)]}, "channels has 33 entries"),
        (
            {"campaign_id": "c1", "name": "Sale", "starts_at": "2026-07-01", "ends_at": "2026-06-30"},
            "ends_at is '2026-06-30': expected a time after starts_at, which is '2026-07-01'",
        ),
    ],
)
def test_a_reason_names_the_field_its_value_and_what_is_expected(mapping, says):
    with pytest.raises(Unreadable) as refused:
        decode_record(mapping)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 700


def test_extra_may_be_nested_but_not_without_end():
    nested: object = 1
    for _ in range(31):
        nested = [nested]
    assert said(deep=nested).extra == {"deep": nested}
    with pytest.raises(Unreadable, match=r"extra.deep is nested too deeply"):
        said(deep=[[nested]])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KNOWN = st.sampled_from(
    [*SAID, "userid", "type", "text", "campaign_id", "name", "priority", "channels", "starts_at", "deleted", "extra", "x"]
)


def outcome(mapping: dict[str, object]) -> Record | Campaign | Tombstone | str:
    try:
        return decode_record(mapping)
    except Unreadable as exc:
        return str(exc)


@given(st.dictionaries(KNOWN, ANYTHING))
def test_any_mapping_is_an_entry_that_can_be_stored_or_has_a_reason(mapping):
    result = outcome(mapping)
    if isinstance(result, Record | Campaign):
        assert len(content_hash(result)) == 32
    elif isinstance(result, str):
        assert result.encode()


@given(ANYTHING)
def test_any_value_of_an_unknown_field_is_kept_or_is_named_in_the_reason(value):
    result = outcome(SAID | {"noise": value})
    assert "extra.noise" in result if isinstance(result, str) else result.extra == {"noise": value}
