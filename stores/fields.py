"""One field's raw value → the value that is kept, or the reason why not.

Every reader takes the field's name, for the reason, and what stood there; it gives the value that is kept, or None where
that is as good as absent. Values come typed from JSON and as text from CSV: each reader takes both.

Words (a message, a name, a description) are kept to the letter: Unicode's NFC would change what somebody wrote, and an
export has to give it back. Identifiers and labels are stripped, and labels brought to NFC, since they are compared and counted.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType

import msgspec

from stores.records import ID_PATTERN, Json, epoch_ms

MAX_TEXT_CHARS = 32_768
MAX_NAME_CHARS = 500
MAX_LABEL_CHARS = 128
MAX_CHANNELS = 32
MAX_DEPTH = 32
INT64 = 2**63
INT32 = 2**31
EARLIEST_MS = epoch_ms(datetime(1900, 1, 1))
LATEST_MS = epoch_ms(datetime(9999, 12, 31))
MOMENT_EXPECTED = "ISO 8601 like 2026-06-01T09:30:00Z (no offset means UTC), or epoch seconds (10 digits) or milliseconds (13)"

Reader = Callable[[str, object], object]

_ID = re.compile(ID_PATTERN)
_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")
_LIST_SEPARATOR = re.compile(r"[|;,]")
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Unreadable(ValueError):
    """A record cannot be read; the message names the field, its value (shortened) and what is expected."""


def present(value: object) -> bool:
    """Whether there is a value: null and blank text are as good as absent."""
    return value is not None and not (isinstance(value, str) and (not value or value.isspace()))


def identifier(name: str, value: object) -> str | None:
    """An id as ID_PATTERN has it; a number becomes its text."""
    if not (text := plain(name, value).strip()):
        return None
    if not _ID.match(text):
        raise Unreadable(f"{name} is {shown(text)}: expected 1 to 128 of A-Z a-z 0-9 _ . : @ - beginning with a letter or digit")
    return text


def label(name: str, value: object) -> str | None:
    """A word of an open vocabulary: stripped and NFC, so that it is counted as one however it was typed."""
    return bounded(name, unicodedata.normalize("NFC", plain(name, value)).strip(), MAX_LABEL_CHARS) or None


def words(name: str, value: object) -> str | None:
    """What somebody wrote, to the letter."""
    text = plain(name, value)
    return bounded(name, text, MAX_TEXT_CHARS) if present(text) else None


def title(name: str, value: object) -> str | None:
    """A short text that people read, to the letter."""
    text = plain(name, value)
    return bounded(name, text, MAX_NAME_CHARS) if present(text) else None


def one_of(options: tuple[str, ...], aliases: Mapping[str, str] = MappingProxyType({})) -> Reader:
    """A reader of a closed vocabulary, in any case."""
    known = {option: option for option in options} | dict(aliases)

    def read(name: str, value: object) -> str | None:
        if isinstance(value, str) and value in known:
            return known[value]
        if not (text := plain(name, value).strip().lower()):
            return None
        if text not in known:
            raise Unreadable(f"{name} is {shown(value)}: expected one of {', '.join(known)}")
        return known[text]

    return read


def moment(name: str, value: object) -> int | None:
    """A point in time, in epoch ms. Of numbers only those that can be nothing else are taken: see `_epoch`."""
    if not present(value):
        return None
    found = _epoch(value)
    if found is None and isinstance(value, str):
        try:
            found = epoch_ms(datetime.fromisoformat(value.strip().upper()))
        except (ValueError, OverflowError):
            found = None
    if found is None:
        raise Unreadable(f"{name} is {shown(value)}: expected {MOMENT_EXPECTED}")
    if not EARLIEST_MS <= found <= LATEST_MS:
        raise Unreadable(f"{name} is {shown(value)}: expected a time between 1900 and 9999")
    return found


def _epoch(value: object) -> int | None:
    """Epoch ms of a number or its digits: 10 digits are seconds and 13 milliseconds (2001 to 2286); None for all else.

    Digits are looked at before ISO 8601 is tried, which would take 1710101012345 for an hour of the year 1710.
    """
    if isinstance(value, str):
        text = value.strip()
        if len(text) not in {10, 13} or not (text.isascii() and text.isdigit()):
            return None
        value = int(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if 1e9 <= value < 1e10:
        return round(value * 1000)
    return round(value) if 1e12 <= value < 1e13 else None


def truth(name: str, value: object) -> bool | None:
    """true, yes and 1, or false, no and 0, in any case."""
    if isinstance(value, bool):
        return value
    if not (text := plain(name, value).strip().lower()):
        return None
    if text not in _TRUTHS:
        raise Unreadable(f"{name} is {shown(value)}: expected true or false")
    return _TRUTHS[text]


def whole(name: str, value: object) -> int | None:
    """A whole number within 32 bits."""
    if not (text := plain(name, value).strip()):
        return None
    if not _WHOLE.fullmatch(text) or not -INT32 <= int(text) < INT32:
        raise Unreadable(f"{name} is {shown(value)}: expected a whole number within 32 bits")
    return int(text)


def labels(name: str, value: object) -> tuple[str, ...] | None:
    """A list of labels, or a text that holds one: as JSON, or separated by | or ; or a comma. Each once, in the order given."""
    if isinstance(value, str):
        value = json_within(value) if value.lstrip().startswith("[") else _LIST_SEPARATOR.split(value)
    if not isinstance(value, list | tuple):
        raise Unreadable(f"{name} is {shown(value)}: expected a list, or a text like email|sms")
    found = tuple(dict.fromkeys(one for item in value if item is not None and (one := label(name, item))))
    if len(found) > MAX_CHANNELS:
        raise Unreadable(f"{name} has {len(found)} entries: expected at most {MAX_CHANNELS}")
    return found or None


def plain(name: str, value: object) -> str:
    """A text, or a number as its text: 12 and 12.0 are both "12", as they are one number in JSON."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool) or not isinstance(value, int | float) or not -INT64 <= value < INT64:
        raise Unreadable(f"{name} is {shown(value)}: expected text")
    else:
        text = str(int(value) if value == int(value) else value)
    if "\0" in text:
        raise Unreadable(f"{name} is {shown(value)}: a NUL character cannot be kept")
    if not encodable(text):
        raise Unreadable(f"{name} is {shown(value)}: not valid Unicode text")
    return text


def encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8: it holds no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def bounded(name: str, text: str, chars: int) -> str:
    """The text, where it is not too long."""
    if len(text) > chars:
        raise Unreadable(f"{name} has {len(text):,} characters: expected at most {chars:,}; it begins {shown(text)}")
    return text


def json_within(value: object) -> object:
    """What a text says when read as JSON, as a CSV cell may be; the value itself where it is not such a text."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return value


def as_json_object(value: dict[str, object]) -> dict[str, Json]:
    """The value itself, where it can be written as JSON text, its numbers fit in 64 bits and it is not nested too deeply."""
    _check_json("extra", value, depth=0)
    return value


def _check_json(name: str, value: object, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unreadable(f"{shortened(name, 60)} is nested too deeply: expected at most {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_json(name, key, depth=depth)
            _check_json(f"{name}.{key}" if depth < 2 else name, inner, depth=depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_json(name, inner, depth=depth + 1)
    elif not _is_json_scalar(value):
        raise Unreadable(f"{shortened(name, 60)} is {shown(value)}: expected valid text, or a number within 64 bits")


def _is_json_scalar(value: object) -> bool:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, int):
        return -INT64 <= value < INT64
    return value is None or (isinstance(value, float) and math.isfinite(value))


def shown(value: object) -> str:
    """A value as a reason shows it: the kind of thing that it is, or itself, at most 60 characters of it."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and not -INT64 <= value < INT64:
        return "a number beyond 64 bits"
    return "null" if value is None else shortened(ascii(value) if isinstance(value, str) and not encodable(value) else repr(value), 60)


def shortened(text: str, chars: int) -> str:
    """The text, cut with an ellipsis after so many characters."""
    return text if len(text) <= chars else f"{text[:chars]}…"
