"""The fields of an entry that hold more than one value: a customer's profile and a campaign's rules.

Each reader is one of `fields.py`'s kind. Objects may come as JSON text, as from CSV; names that nobody knows inside one are
refused, because a rule that is misspelt must not be taken for no rule.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import get_args
from zoneinfo import available_timezones

from stores.fields import Unreadable, json_within, label, labels, present, shown, truth, whole
from stores.records import MOST_IMPRESSION_TIMES, Audience, Cap, Day, Hours

MOST_NAMES = 32
MOST_VALUES = 100
MOST_CAPS = 4
LONGEST_PERIOD_HOURS = 24 * 366
DAYS: tuple[Day, ...] = get_args(Day)

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00)")


def consents(name: str, value: object) -> dict[str, bool] | None:
    """Yes or no by channel."""
    given = {channel: truth(f"{name}.{channel}", said) for channel, said in _named(name, value).items()}
    return {channel: said for channel, said in given.items() if said is not None} or None


def attributes(name: str, value: object) -> dict[str, str] | None:
    """One label for each name; true and false, as attributes, are the words."""
    given = {key: _attribute(f"{name}.{key}", said) for key, said in _named(name, value).items()}
    return {key: said for key, said in given.items() if said is not None} or None


def hours(name: str, value: object) -> Hours | None:
    """`zone`, and optionally `days`, `opens` and `closes` as HH:MM; 24:00 is the end of the day."""
    said = _known(name, value, ("zone", "days", "opens", "closes"))
    if not said:
        return None
    days = labels(f"{name}.days", said["days"]) if "days" in said else DAYS
    if unknown := sorted(set(days or ()) - set(DAYS)):
        raise Unreadable(f"{name}.days has {shown(unknown[0])}: expected some of {', '.join(DAYS)}")
    opens, closes = _minute(f"{name}.opens", said.get("opens", "00:00")), _minute(f"{name}.closes", said.get("closes", "24:00"))
    if opens in {closes, 1440}:
        given = f"opens {shown(said.get('opens'))} and closes {shown(said.get('closes'))}"
        raise Unreadable(f"{name} has {given}: expected two different times, opens before 24:00")
    ordered = tuple(day for day in DAYS if day in (days or DAYS))
    return Hours(zone=_zone(f"{name}.zone", said.get("zone")), opens_minute=opens, closes_minute=closes, days=ordered)


def audience(name: str, value: object) -> Audience | None:
    """`group`, a mailing that the customer got, and `attributes`: for each name the value, or the list of values, that fits."""
    said = _known(name, value, ("group", "attributes"))
    if not said:
        return None
    group = label(f"{name}.group", said["group"]) if "group" in said else None
    asked = _named(f"{name}.attributes", said.get("attributes", {}))
    return Audience(group=group, attributes={key: _values(f"{name}.attributes.{key}", one) for key, one in asked.items()})


def caps(name: str, value: object) -> tuple[Cap, ...] | None:
    """One cap or a list of them, each `{"impressions": n, "period_hours": h}`."""
    value = json_within(value)
    given = value if isinstance(value, list) else [value]
    if len(given) > MOST_CAPS:
        raise Unreadable(f"{name} has {len(given)} entries: expected at most {MOST_CAPS}")
    return tuple(_cap(name if len(given) == 1 else f"{name}.{number}", one) for number, one in enumerate(given)) or None


def _cap(name: str, value: object) -> Cap:
    said = _known(name, value, ("impressions", "period_hours"))
    return Cap(
        impressions=_between(f"{name}.impressions", said.get("impressions"), 0, MOST_IMPRESSION_TIMES),
        period_hours=_between(f"{name}.period_hours", said.get("period_hours"), 1, LONGEST_PERIOD_HOURS),
    )


def _between(name: str, value: object, least: int, most: int) -> int:
    found = whole(name, value) if present(value) else None
    if found is None or not least <= found <= most:
        raise Unreadable(f"{name} is {shown(value)}: expected a whole number from {least} to {most}")
    return found


def _known(name: str, value: object, names: tuple[str, ...]) -> dict[str, object]:
    """What an object says under these names."""
    said = _named(name, value)
    if unknown := sorted(said.keys() - set(names)):
        raise Unreadable(f"{name}.{unknown[0]} is unknown: expected {', '.join(names)}")
    return said


def _named(name: str, value: object) -> dict[str, object]:
    """An object's values by name, each a label; what is null or blank is as good as absent."""
    value = json_within(value)
    if not isinstance(value, Mapping):
        raise Unreadable(f"{name} is {shown(value)}: expected an object")
    if len(value) > MOST_NAMES:
        raise Unreadable(f"{name} has {len(value)} names: expected at most {MOST_NAMES}")
    said: dict[str, object] = {}
    for key, one in value.items():
        if (known := label(f"{name}: a name", key)) is None:
            raise Unreadable(f"{name} has a blank name")
        if known in said:
            raise Unreadable(f"{name}.{known} is given twice")
        if present(one):
            said[known] = one
    return said


def _attribute(name: str, value: object) -> str | None:
    return str(value).lower() if isinstance(value, bool) else label(name, value)


def _values(name: str, value: object) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    if len(given) > MOST_VALUES:
        raise Unreadable(f"{name} has {len(given)} entries: expected at most {MOST_VALUES}")
    return tuple(sorted({found for one in given if present(one) and (found := _attribute(name, one)) is not None}))


def _minute(name: str, value: object) -> int:
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise Unreadable(f"{name} is {shown(value)}: expected a time of day like 09:30")
    hour, minute = (int(part) for part in found.groups() if part is not None)
    return 60 * hour + minute


def _zone(name: str, value: object) -> str:
    zone = label(name, value) if present(value) else None
    if zone is None or zone not in zones():
        raise Unreadable(f"{name} is {shown(value)}: expected a time zone like Europe/Berlin")
    return zone


@cache
def zones() -> frozenset[str]:
    """The names of all time zones; not that of this machine's own, which would mean another one elsewhere."""
    return frozenset(available_timezones() - {"localtime"})
