"""JSON text → entries: one record's text, and files with one record a line."""

import json
import re
from collections.abc import Iterator

import msgspec

from stores.decoding import decode_record
from stores.fields import Unreadable, shortened
from stores.records import Decoded, Rejected
from stores.source import Source, lines, rejected, too_long

JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_MEMBER = re.compile(rb'"\s*:')
_AT_BYTE = re.compile(r" ?\(byte (\d+)\)")


def json_lines(source: Source, *, max_record_bytes: int) -> Iterator[Decoded]:
    """The entries of a file with one JSON object a line; blank lines are no records.

    Never raises on any bytes. Where the file is damaged, the good head is kept and one Rejected tells of the rest.
    """
    number = 0
    for number, data, size, cut in lines(source, max_bytes=max_record_bytes):
        if size > max_record_bytes:
            entry: Decoded = rejected(number, too_long(size, max_record_bytes), data, size=size)
        elif text := data.strip():
            entry = decoded(number, text)
        else:
            continue
        if cut and isinstance(entry, Rejected):
            yield rejected(number, f"{source.damage}, within this record", data, size=size)
            return
        yield entry
    if source.damage:
        yield rejected(number + 1, f"{source.damage}: nothing from here on could be read", b"")


def decoded(line: int, raw: bytes) -> Decoded:
    """The entry of one record's JSON text, or the Rejected that says why there is none."""
    try:
        return decoded_value(line, raw, msgspec.json.decode(raw))
    except JSON_ERRORS as exc:
        return rejected(line, not_json(raw, exc), raw)


def decoded_value(line: int, raw: bytes, value: object) -> Decoded:
    """The same, where the text is already read as `value`."""
    if not isinstance(value, dict):
        return rejected(line, f"expected a JSON object, got {'a list' if isinstance(value, list) else shortened(repr(value), 60)}", raw)
    try:
        # Every member has a colon behind a quote. Where there are just as many as fields, no name can be there twice.
        if len(_MEMBER.findall(raw)) != len(value):
            _REPEATED_NAMES.decode(raw.decode())
        return decode_record(value)
    except Unreadable as exc:
        return rejected(line, str(exc), raw)
    except RecursionError as exc:
        return rejected(line, not_json(raw, exc), raw)


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """One object's fields; raises Unreadable where a name is there twice, of which JSON readers silently keep the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise Unreadable(f"{shortened(max(names, key=names.count), 60)} is given twice in one object")
    return found


_REPEATED_NAMES = json.JSONDecoder(object_pairs_hook=_unrepeated)


def not_json(raw: bytes, exc: Exception) -> str:
    """The reason of a text that is not JSON: what is wrong with it, and where."""
    if isinstance(exc, RecursionError):
        return "not a record: its JSON is nested too deeply"
    if isinstance(exc, UnicodeDecodeError):
        return f"not valid UTF-8: {_near(raw, _first_bad_byte(raw))}"
    fault = str(exc).removeprefix("JSON is malformed: ")
    where = _AT_BYTE.search(fault)
    return f"not valid JSON: {_AT_BYTE.sub('', fault)}" + (f" at byte {where[1]}, in {_near(raw, int(where[1]))}" if where else "")


def _first_bad_byte(raw: bytes) -> int:
    try:
        raw.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    return 0


def _near(raw: bytes, at: int) -> str:
    """The surroundings of one byte, as a reason shows them."""
    return raw[max(0, at - 12) : at + 20].decode(errors="backslashreplace").replace("\0", "\\x00")
