"""Who was forgotten, known by nothing but keyed hashes; and whether an entry, or a text that could not be read, is of one of them."""

import csv
import hmac
import json
import re
from collections.abc import Iterator
from hashlib import sha256

from msgspec import Struct

from stores.csv_table import separator_of
from stores.decoding import RECORD_ALIASES
from stores.fields import Unreadable, identifier
from stores.records import Decoded, Record, Rejected

USER_FIELDS = frozenset({"user_id", *(alias for alias, name in RECORD_ALIASES.items() if name == "user_id")})
MOST_RUNS = 8  # so many runs of letters and digits an id in a text has at most: a UUID has five, a mail address rarely more
MOST_CHARS = 128

_WORD = re.compile(r"[A-Za-z0-9_.:@-]+")
_RUN = re.compile(r"[A-Za-z0-9]+")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


class Suppression(Struct, frozen=True):
    """Everybody who was forgotten or asked to be: `marks` are the keyed hashes of their ids."""

    key: str
    marks: frozenset[str]

    def covers(self, entry: Decoded) -> bool:
        """Whether an entry must not be kept, because it is, or may be, of somebody who was forgotten."""
        if not self.marks:
            return False
        if isinstance(entry, Record):
            return mark_of(entry.user_id, self.key) in self.marks
        return isinstance(entry, Rejected) and any(mark_of(user_id, self.key) in self.marks for user_id in owners_in(entry.raw))


NOBODY = Suppression(key="", marks=frozenset())


def mark_of(user_id: str, key: str) -> str:
    """64 hex digits that stand for a customer: an HMAC, so that without the key nobody can try ids on it."""
    return hmac.digest(key.encode(), user_id.encode(), sha256).hex()


def owners_in(raw: str) -> frozenset[str]:
    """The customers of whom a text that could not be read may be.

    Where it can be seen which field names the customer, that one alone counts. Else every word of the text does that could
    be an id: rather one text too many is forgotten than one too few.
    """
    named = _named_in_json(raw) or _named_in_csv(raw)
    if named:
        try:
            return frozenset(found for value in named if (found := identifier("user_id", value)))
        except Unreadable:
            pass
    return frozenset(_words(raw))


def _named_in_json(raw: str) -> list[object]:
    """What the fields for the customer hold, however often they are there; nothing where this is no JSON object."""
    try:
        fields = json.loads(raw, object_pairs_hook=_Fields)
    except (ValueError, RecursionError):
        return []
    return [value for name, value in fields if name in USER_FIELDS] if isinstance(fields, _Fields) else []


class _Fields(list[tuple[str, object]]):
    """One JSON object with every field that was written, also where a name is there twice."""


def _named_in_csv(raw: str) -> list[object]:
    """The cells for the customer below a header that names them; nothing where a row does not fit the header."""
    header, _, rows = raw.partition("\n")
    separator = separator_of(header.encode(errors="replace"))
    if separator is None or not rows:
        return []
    try:
        names, *cells = csv.reader([header, *rows.split("\n")], delimiter=separator, strict=True)
    except (csv.Error, ValueError):
        return []
    cells = [row for row in cells if row]
    if any(len(row) != len(names) for row in cells):
        return []
    return [cell for row in cells for name, cell in zip(names, row, strict=True) if name.strip() in USER_FIELDS]


def _words(raw: str) -> Iterator[str]:
    """Every part of the text that could be an id: from where letters or digits begin to where they or the word ends."""
    for word in _WORD.finditer(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), raw)):
        text = word[0]
        runs = [run.span() for run in _RUN.finditer(text)]
        for first, (start, _) in enumerate(runs):
            for _, end in [*runs[first : first + MOST_RUNS], (start, len(text))]:
                if end - start <= MOST_CHARS:
                    yield text[start:end]
