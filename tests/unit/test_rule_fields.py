"""A campaign's rules and a customer's profile as they come in: read from JSON and from text, or refused with what is expected."""

import json

import pytest

from stores.decoding import decode_record
from stores.fields import Unreadable
from stores.records import Audience, Campaign, Cap, Hours, Profile, Record, Rules

EVERY_DAY = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def campaign(**fields: object) -> Campaign:
    decoded = decode_record({"campaign_id": "c_1", "name": "Spring"} | fields)
    assert isinstance(decoded, Campaign)
    return decoded


def statement(**fields: object) -> Record:
    decoded = decode_record({"user_id": "u_1", "timestamp": "2026-06-01", "event": "profile"} | fields)
    assert isinstance(decoded, Record)
    return decoded


@pytest.mark.parametrize("as_text", [False, True], ids=["typed", "text"])
@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ({"hours": {"zone": "Europe/Berlin"}}, Rules(hours=Hours(zone="Europe/Berlin", days=EVERY_DAY))),
        (
            {"hours": {"zone": "Asia/Kolkata", "days": ["fri", "mon", "mon"], "opens": "22:30", "closes": "02:00"}},
            Rules(hours=Hours(zone="Asia/Kolkata", opens_minute=1350, closes_minute=120, days=("mon", "fri"))),
        ),
        ({"hours": {"zone": "UTC", "days": "sat|sun", "closes": "24:00"}}, Rules(hours=Hours(zone="UTC", days=("sat", "sun")))),
        ({"audience": {"group": " spring "}}, Rules(audience=Audience(group="spring"))),
        (
            {"audience": {"attributes": {"tier": ["gold", "a", 1, None], "vip": True, "none": None}}},
            Rules(audience=Audience(attributes={"tier": ("1", "a", "gold"), "vip": ("true",)})),
        ),
        ({"audience": {"attributes": {"tier": []}}}, Rules(audience=Audience(attributes={"tier": ()}))),  # which is nobody
        ({"requires_consent": ["email", "sms"]}, Rules(requires_consent=("email", "sms"))),
        ({"caps": {"impressions": 0, "period_hours": 24}}, Rules(caps=(Cap(impressions=0, period_hours=24),))),
        (
            {"caps": [{"impressions": 1, "period_hours": 24}, {"impressions": "100", "period_hours": 8784}]},
            Rules(caps=(Cap(impressions=1, period_hours=24), Cap(impressions=100, period_hours=8784))),
        ),
        ({"fallback": True}, Rules(fallback=True)),
        ({"hours": None, "audience": {}, "caps": [], "fallback": False, "requires_consent": []}, Rules()),
    ],
)
def test_rules_are_read_from_json_and_from_text(given: dict[str, object], rules: Rules, as_text: bool) -> None:
    texts = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in given.items()}
    found = campaign(**(texts if as_text else given))
    assert (found.rules, found.extra) == (rules, {})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"hours": "9 to 5"}, "hours is '9 to 5': expected an object"),
        ({"hours": {"opens": "09:00"}}, "hours.zone is null: expected a time zone like Europe/Berlin"),
        ({"hours": {"zone": "Mars/Phobos"}}, "hours.zone is 'Mars/Phobos': expected a time zone"),
        ({"hours": {"zone": "localtime"}}, "hours.zone is 'localtime': expected a time zone"),
        ({"hours": {"zone": "../UTC"}}, "hours.zone is '../UTC': expected a time zone"),
        ({"hours": {"zone": "UTC", "opens": "9:00"}}, "hours.opens is '9:00': expected a time of day like 09:30"),
        ({"hours": {"zone": "UTC", "closes": "24:01"}}, "hours.closes is '24:01': expected a time of day"),
        ({"hours": {"zone": "UTC", "opens": "09:00", "closes": "09:00"}}, "hours has opens '09:00' and closes '09:00': expected two"),
        ({"hours": {"zone": "UTC", "opens": "24:00"}}, "hours has opens '24:00' and closes null: expected two different times"),
        ({"hours": {"zone": "UTC", "days": ["monday"]}}, "hours.days has 'monday': expected some of mon, tue"),
        ({"hours": {"zone": "UTC", "open": "09:00"}}, "hours.open is unknown: expected zone, days, opens, closes"),
        ({"audience": {"groups": "spring"}}, "audience.groups is unknown: expected group, attributes"),
        ({"audience": "gold"}, "audience is 'gold': expected an object"),
        ({"audience": {"attributes": {"tier": {"is": "gold"}}}}, "audience.attributes.tier is an object: expected text"),
        ({"audience": {"attributes": {"tier": [["gold"]]}}}, "audience.attributes.tier is a list: expected text"),
        ({"audience": {"attributes": {"x" * 129: "gold"}}}, "audience.attributes: a name has 129 characters"),
        ({"audience": {"attributes": {str(n): "x" for n in range(33)}}}, "audience.attributes has 33 names: expected at most 32"),
        ({"audience": {"attributes": {"tier": [str(n) for n in range(101)]}}}, "audience.attributes.tier has 101 entries"),
        ({"requires_consent": {"email": True}}, "requires_consent is an object: expected a list"),
        ({"caps": 3}, "caps is 3: expected an object"),
        ({"caps": {"impressions": 3}}, "caps.period_hours is null: expected a whole number from 1 to 8784"),
        ({"caps": {"period_hours": 24}}, "caps.impressions is null: expected a whole number from 0 to 100"),
        ({"caps": {"impressions": -1, "period_hours": 24}}, "caps.impressions is -1: expected a whole number from 0 to 100"),
        ({"caps": {"impressions": 101, "period_hours": 24}}, "caps.impressions is 101: expected"),
        ({"caps": [{"impressions": 1, "period_hours": 24}, {"impressions": 1, "period_hours": 0}]}, "caps.1.period_hours is 0: expected"),
        ({"caps": [{"impressions": 1, "period_hours": 24}] * 5}, "caps has 5 entries: expected at most 4"),
        ({"fallback": "perhaps"}, "fallback is 'perhaps': expected true or false"),
    ],
)
def test_a_rule_that_cannot_be_read_is_named_with_what_is_expected(given: dict[str, object], says: str) -> None:
    with pytest.raises(Unreadable) as refused:
        campaign(**given)
    assert says in str(refused.value)


def test_a_field_that_is_no_rule_is_kept_under_extra() -> None:
    assert campaign(budget=5, fallback=True).extra == {"budget": 5}


@pytest.mark.parametrize("as_text", [False, True], ids=["typed", "text"])
def test_a_profile_states_what_it_names(as_text: bool) -> None:
    given = {"consent": {"email": True, " sms ": "no", "app": None}, "attributes": {"tier": "gold", "visits": 12.0, "vip": True, "x": ""}}
    found = statement(suppressed="false", **{name: json.dumps(value) if as_text else value for name, value in given.items()})
    attributes = {"tier": "gold", "visits": "12", "vip": "true"}
    assert found.profile == Profile(consent={"email": True, "sms": False}, suppressed=False, attributes=attributes)
    assert (found.event, found.message, found.speaks, found.extra) == ("profile", None, False, {})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "an event of kind profile says nothing: expected consent, suppressed or attributes"),
        ({"consent": {}, "attributes": {"tier": None}}, "an event of kind profile says nothing"),
        ({"consent": {"email": "maybe"}}, "consent.email is 'maybe': expected true or false"),
        ({"consent": True}, "consent is true: expected an object"),
        ({"consent": ["email"]}, "consent is a list: expected an object"),
        ({"consent": {" ": True}}, "consent has a blank name"),
        ({"consent": {"email": True, " email": False}}, "consent.email is given twice"),
        ({"suppressed": "sometimes"}, "suppressed is 'sometimes': expected true or false"),
        ({"attributes": {"tier": ["gold"]}}, "attributes.tier is a list: expected text"),
        ({"attributes": {"tier": "x" * 129}}, "attributes.tier has 129 characters: expected at most 128"),
    ],
)
def test_a_profile_that_cannot_be_read_is_refused_with_what_is_expected(given: dict[str, object], says: str) -> None:
    with pytest.raises(Unreadable) as refused:
        statement(**given)
    assert says in str(refused.value)


def test_fields_of_a_profile_in_another_record_are_unknown_fields() -> None:
    found = decode_record({"user_id": "u_1", "timestamp": "2026-06-01", "message": "Hello", "consent": "yes", "suppressed": 1})
    assert isinstance(found, Record)
    assert (found.profile, found.extra) == (None, {"consent": "yes", "suppressed": 1})


def test_a_profile_without_an_id_is_known_by_what_it_states() -> None:
    one, same = statement(consent={"email": True, "sms": True}), statement(consent={"sms": "yes", "email": 1})
    others = [statement(consent={"email": True}), statement(suppressed=True), statement(attributes={"email": "true", "sms": "true"})]
    assert one.message_id == same.message_id
    assert len({one.message_id, *(other.message_id for other in others)}) == 4
