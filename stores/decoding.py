"""One raw record → a typed entry, or the reason why not: the names and rules of the input contract."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec

from stores.fields import (
    MOMENT_EXPECTED,
    Reader,
    Unreadable,
    as_json_object,
    identifier,
    json_within,
    label,
    labels,
    moment,
    one_of,
    present,
    shortened,
    shown,
    title,
    truth,
    whole,
    words,
)
from stores.records import Campaign, Event, Json, Profile, Record, Role, Rules, Status, Tombstone
from stores.rule_fields import attributes, audience, caps, consents, hours

RECORD_ALIASES = {
    "userid": "user_id",
    "campaign": "campaign_id",
    "text": "message",
    "type": "event",
    "record_id": "message_id",
    "interaction_id": "message_id",
}
CAMPAIGN_ALIASES = {"campaign": "campaign_id"}


def _judged(_name: str, _value: object) -> None:
    """`deleted` of an entry that is not deleted: it was judged before, and leaves no trace."""


RECORD_FIELDS: Mapping[str, tuple[str, Reader]] = {
    "message_id": ("message_id", identifier),
    "user_id": ("user_id", identifier),
    "timestamp": ("timestamp_ms", moment),
    "event": ("event", one_of(get_args(Event), {"chat": "message"})),
    "message": ("message", words),
    "role": ("role", one_of(get_args(Role))),
    "campaign_id": ("campaign_id", identifier),
    "group": ("group", label),
    "intent": ("intent", label),
    "channel": ("channel", label),
    "session_id": ("session_id", label),
    "deleted": ("deleted", _judged),
}
PROFILE_FIELDS: Mapping[str, tuple[str, Reader]] = {
    "consent": ("consent", consents),
    "suppressed": ("suppressed", truth),
    "attributes": ("attributes", attributes),
}
"""What a record of the event `profile` says; any other record keeps fields of these names under `extra`."""
RULE_FIELDS: Mapping[str, tuple[str, Reader]] = {
    "hours": ("hours", hours),
    "audience": ("audience", audience),
    "requires_consent": ("requires_consent", labels),
    "caps": ("caps", caps),
    "fallback": ("fallback", truth),
}
CAMPAIGN_FIELDS: Mapping[str, tuple[str, Reader]] = {
    "campaign_id": ("campaign_id", identifier),
    "name": ("name", title),
    "description": ("description", words),
    "category": ("category", label),
    "channels": ("channels", labels),
    "status": ("status", one_of(get_args(Status))),
    "starts_at": ("starts_at_ms", moment),
    "ends_at": ("ends_at_ms", moment),
    "priority": ("priority", whole),
    "group": ("group", label),
    "repeatable": ("repeatable", truth),
    "deleted": ("deleted", _judged),
}
"""Input field → the entry's field and the reader of its value. What is not named here is kept under `extra`."""


def decode_record(mapping: Mapping[str, object]) -> Record | Campaign | Tombstone:
    """The entry that one raw record stands for. Absent, null and blank are the same.

    `deleted` makes a tombstone; else `user_id` a record; else `campaign_id` with `name` a campaign. A field's own name
    wins over its aliases; an alias that has lost is kept under `extra`, as is everything that is no field of the entry.

    Raises:
        Unreadable: for every mapping that is none of these.
    """
    named = _renamed(mapping, RECORD_ALIASES)
    if present(named.get("deleted")) and truth("deleted", named["deleted"]):
        return _tombstone(named)
    if present(named.get("user_id")):
        return _record(named)
    named = _renamed(mapping, CAMPAIGN_ALIASES)
    if present(named.get("campaign_id")) and present(named.get("name")):
        return _campaign(named)
    raise Unreadable(f"user_id is missing, and only campaign_id with name makes a campaign; {_given(mapping)}")


def _given(mapping: Mapping[str, object]) -> str:
    """The names that a record has: a field that is missing is often there under another one."""
    return f"the record has {', '.join(shortened(ascii(name)[1:-1], 40) for name in list(mapping)[:12]) or 'no fields'}"


def _renamed(mapping: Mapping[str, object], aliases: Mapping[str, str]) -> Mapping[str, object]:
    if aliases.keys().isdisjoint(mapping):
        return mapping
    named = dict(mapping)
    for alias, name in aliases.items():
        if alias in named and not present(named.get(name)):
            named[name] = named.pop(alias)
    return named


def _tombstone(named: Mapping[str, object]) -> Tombstone:
    given = named.get("message_id")
    if not present(given) or (message_id := identifier("message_id", given)) is None:
        raise Unreadable("message_id is missing: a deletion names its record by it (a campaign is not deleted but gets status ended)")
    return Tombstone(message_id=message_id)


def _record(named: Mapping[str, object]) -> Record:
    states = present(named.get("event")) and RECORD_FIELDS["event"][1]("event", named["event"]) == "profile"
    fields = _read(named, {**RECORD_FIELDS, **PROFILE_FIELDS} if states else RECORD_FIELDS)
    if "timestamp_ms" not in fields:
        raise Unreadable(f"timestamp is missing: expected {MOMENT_EXPECTED}; {_given(named)}")
    if fields.setdefault("event", "message") == "message" and "message" not in fields:
        raise Unreadable("message is missing: an event of kind message needs its text (another kind is said in the field event)")
    if states:
        fields["profile"] = Profile(**_taken(fields, PROFILE_FIELDS))
        if fields["profile"] == Profile():
            raise Unreadable(f"an event of kind profile says nothing: expected consent, suppressed or attributes; {_given(named)}")
    if "message_id" not in fields:
        fields["message_id"] = _content_id(fields)
    return Record(**fields)


def _taken(fields: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """These fields, which are then no longer among the others."""
    return {name: fields.pop(name) for name in names if name in fields}


def _content_id(fields: Mapping[str, object]) -> str:
    """The id of a record that came without one: from its content, so that the same record twice is one record.

    A mailing is known by its group too, and a profile by what it states: of one customer there may be several at one moment.
    """
    content = [fields.get(name) for name in ("user_id", "campaign_id", "timestamp_ms", "event", "message")]
    said = [fields["profile"]] if "profile" in fields else []
    if fields["event"] == "mailing" and "group" in fields:
        said.append(fields["group"])
    return hashlib.sha256(msgspec.json.encode(content + said, order="sorted")).hexdigest()


def _campaign(named: Mapping[str, object]) -> Campaign:
    fields = _read(named, {**CAMPAIGN_FIELDS, **RULE_FIELDS})
    campaign = Campaign(rules=Rules(**_taken(fields, RULE_FIELDS)), **fields)
    if campaign.starts_at_ms is not None and campaign.ends_at_ms is not None and campaign.ends_at_ms <= campaign.starts_at_ms:
        raise Unreadable(f"ends_at is {shown(named['ends_at'])}: expected a time after starts_at, which is {shown(named['starts_at'])}")
    return campaign


def _read(named: Mapping[str, object], readers: Mapping[str, tuple[str, Reader]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    unknown: dict[str, object] = {}
    for name, value in named.items():
        if name not in readers:
            unknown[name] = value
        elif value is not None and value != "":
            field, reader = readers[name]
            if (found := reader(name, value)) is not None:
                fields[field] = found
    if unknown:
        fields["extra"] = _extra(unknown)
    return fields


def _extra(unknown: dict[str, object]) -> dict[str, Json]:
    """The unknown fields, together with those that came gathered in a field `extra`."""
    gathered = json_within(unknown.get("extra"))
    if not isinstance(gathered, dict):
        return as_json_object(unknown)
    inner, outer = as_json_object(gathered), as_json_object({name: value for name, value in unknown.items() if name != "extra"})
    if twice := sorted(name for name in inner.keys() & outer.keys() if inner[name] != outer[name]):
        raise Unreadable(f"{shown(twice[0])} is given twice with different values: by itself and under extra")
    return inner | outer
