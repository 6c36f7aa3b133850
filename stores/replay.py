"""A quarantined text, mended or not → lines that can be taken again."""

import csv
from collections.abc import Iterator
from io import BytesIO

import msgspec
from msgspec import Struct

from stores.csv_table import csv_table, separator_of
from stores.json_lines import decoded
from stores.records import Rejected
from stores.source import Source


class Mended(Struct, frozen=True):
    """What a text holds: one line of JSON for each record that can be read, and the reasons of those that cannot."""

    lines: list[bytes]
    faults: list[str]


def mended(text: bytes, *, max_record_bytes: int) -> Mended:
    """Reads a text as the intake would: one JSON object over any number of lines, an array, JSON Lines, or CSV with its header."""
    text = text.strip()
    lines, faults = [], []
    for line in _lines(text, max_record_bytes):
        entry = line if isinstance(line, Rejected) else decoded(1, line)
        if isinstance(entry, Rejected):
            faults.append(entry.reason)
        elif isinstance(line, bytes):
            lines.append(line)
    if not lines and not faults:
        faults.append("there is no record in it")
    return Mended(lines, faults)


def _lines(text: bytes, max_record_bytes: int) -> Iterator[bytes | Rejected]:
    """Each record as one line of JSON, whatever form it has; what is no JSON stays as it is."""
    header = text.partition(b"\n")[0]
    separator = None if text.startswith((b"{", b"[")) else separator_of(header)
    if separator is not None:
        faults = [entry for entry in csv_table(Source(BytesIO(text)), max_record_bytes=max_record_bytes) if isinstance(entry, Rejected)]
        yield from faults or _from_csv(text, separator)
        return
    try:
        yield from _compact(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield from (line for line in text.split(b"\n") if line.strip())


def _compact(text: bytes) -> list[bytes]:
    """JSON without the white space between its parts, which is not touched otherwise."""
    pieces = msgspec.json.decode(text, type=list[msgspec.Raw]) if text.startswith(b"[") else [msgspec.Raw(text)]
    return [msgspec.json.format(bytes(piece), indent=-1) for piece in pieces]


def _from_csv(text: bytes, separator: str) -> Iterator[bytes]:
    names, *rows = csv.reader(text.decode().splitlines(keepends=True), delimiter=separator, strict=True)
    for row in rows:
        if any(map(str.strip, row)):
            yield msgspec.json.encode(
                {name.strip() or f"column_{number}": cell for number, (name, cell) in enumerate(zip(names, row, strict=False), 1) if cell}
            )
