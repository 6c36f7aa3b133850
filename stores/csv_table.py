"""A CSV file → entries. The first line names the columns; an empty cell is an absent value.

Commas, semicolons and tabs are taken as separators, whichever the header uses. A quote that is never closed would swallow
all that follows: when a row of several lines cannot be read, only its first line is given up and the next one is tried.
"""

import csv
from collections import deque
from collections.abc import Iterator

from stores.decoding import CAMPAIGN_FIELDS, RECORD_ALIASES, RECORD_FIELDS, decode_record
from stores.fields import Unreadable, encodable, shortened
from stores.records import Decoded
from stores.source import Line, Source, lines, rejected, too_long

SEPARATORS = ",;\t"
KNOWN_COLUMNS = frozenset({*RECORD_FIELDS, *CAMPAIGN_FIELDS, *RECORD_ALIASES})
NEVER_CLOSED = "a quote is opened and never closed"
FAULTS = {
    "unexpected end of data": NEVER_CLOSED,
    "field larger than field limit": f"{NEVER_CLOSED}, or a cell is longer than 131,072 characters",
    "expected after": "a quote closes within a cell: a quote that belongs to the text is written twice",
}
"""What csv says, and what it means to a person."""


class BadRow(Exception):
    """A row has no cells that fit the header. `lines` of it are given up, the others are tried again."""

    def __init__(self, reason: str, *, lines: int = 1) -> None:
        super().__init__(reason)
        self.lines = lines


def csv_table(source: Source, *, max_record_bytes: int) -> Iterator[Decoded]:
    """The entries of a CSV file; `line` is where the row begins. A Rejected's raw text has the header above its row: it can
    be mended and loaded as a file of its own.

    Never raises on any bytes. Where the file is damaged, the good head is kept and one Rejected tells of the rest.
    """
    table = _Table(source, max_record_bytes)
    if table.fault:
        yield rejected(table.header.number, table.fault, table.header.data, size=table.header.size)
    yield from table.entries()
    if source.damage and not table.cut:
        yield rejected(table.last_line + 1, f"{source.damage}: nothing from here on could be read", b"")


def separator_of(header: bytes) -> str | None:
    """The separator by which a line names known columns, or None where it names none: then it is no header."""
    named = {separator: len(KNOWN_COLUMNS.intersection(_names(header, separator))) for separator in SEPARATORS}
    best = max(named, key=named.__getitem__)
    return best if named[best] else None


def _names(header: bytes, separator: str) -> list[str]:
    """The names in a header, stripped; a column without a name is called by its number."""
    row = _cells(header.decode(errors="replace"), separator)
    return [cell.strip() or f"column_{number}" for number, cell in enumerate(row, 1)]


def _cells(line: str, separator: str) -> list[str]:
    """The cells of a line that is a row by itself; none where it is not."""
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return []


def _header_fault(header: Line, names: list[str], max_bytes: int) -> str | None:
    """Why the rows cannot be read by this header; None where they can, or where there is no line at all."""
    if not header.size:
        return None
    if header.size > max_bytes:
        return too_long(header.size, max_bytes)
    if not KNOWN_COLUMNS.intersection(names):
        return "the first line names no known column: expected names like user_id,timestamp,message"
    twice = next((name for name in names if names.count(name) > 1), None)
    return f"the header names {shortened(twice, 60)} twice" if twice else None


class _Table:
    """The lines of a CSV file, as csv.reader pulls them. `taken` are those of the row that is being read."""

    def __init__(self, source: Source, max_bytes: int) -> None:
        self.source = source
        self.max_bytes = max_bytes
        self.lines = lines(source, max_bytes=max_bytes)
        self.again: deque[Line] = deque()
        self.taken: list[Line] = []
        self.header = next((line for line in self.lines if line.data.strip()), Line(1, b"", 0))
        self.last_line = self.header.number
        self.cut = self.header.cut
        self.separator = separator_of(self.header.data) or ","
        self.names = _names(self.header.data, self.separator)
        self.fault = self.source.damage if self.cut else _header_fault(self.header, self.names, max_bytes)

    def entries(self) -> Iterator[Decoded]:
        """The entry of every row that is not blank."""
        reader = self._reader()
        while True:
            self.taken.clear()
            try:
                if (row := next(reader, None)) is None:
                    return
                if any(map(str.strip, row)) or len(row) > 1:
                    yield decode_record(self._fields(row))
            except Unreadable as exc:
                yield self._rejected(str(exc))
            except BadRow as exc:
                self._give_back(exc.lines)
                yield self._rejected(str(exc))
                reader = self._reader()
            except csv.Error as exc:
                self._give_back(1)
                yield self._rejected(next((meaning for said, meaning in FAULTS.items() if said in str(exc)), str(exc)))
                reader = self._reader()

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(self._pulled(), delimiter=self.separator, strict=True)

    def _pulled(self) -> Iterator[str]:
        """The next lines as text, in which bytes that are not UTF-8 are lone surrogates. BadRow goes through csv.reader."""
        size = 0
        while line := self.again.popleft() if self.again else next(self.lines, None):
            size = line.size + (size if self.taken else 0)
            self.taken.append(line)
            self.last_line = max(self.last_line, line.number)
            if line.cut:
                self.cut = True
                raise BadRow(f"{self.source.damage}, within this record")
            if size > self.max_bytes:
                raise BadRow(too_long(size, self.max_bytes) if len(self.taken) == 1 else NEVER_CLOSED)
            yield line.data.decode(errors="surrogateescape") + "\n"

    def _fields(self, row: list[str]) -> dict[str, object]:
        """The row's cells that are not empty, by column name."""
        if self.fault:
            raise BadRow(f"the header cannot be used: {self.fault}", lines=len(self.taken))
        if len(row) < len(self.names) or any(row[len(self.names) :]):
            reason = f"the row has {len(row)} cells, the header names {len(self.names)}: a separator in a text needs quotes around it"
            raise BadRow(reason, lines=1 if self._next_stands_alone() else len(self.taken))
        if not all(map(encodable, row)):
            raise Unreadable("not valid UTF-8: the bytes that are not show as \\xNN")
        return {name: cell for name, cell in zip(self.names, row, strict=False) if cell}

    def _next_stands_alone(self) -> bool:
        """Whether the second line of this row is a row by itself: then a quote in the first was not closed."""
        return len(self.taken) > 1 and len(_cells(self.taken[1].data.decode(errors="replace"), self.separator)) == len(self.names)

    def _give_back(self, kept: int) -> None:
        self.again.extendleft(reversed(self.taken[kept:]))
        del self.taken[kept:]

    def _rejected(self, reason: str) -> Decoded:
        raw = b"\n".join(line.data for line in [self.header, *self.taken])
        return rejected(self.taken[0].number, reason, raw, size=sum(line.size + 1 for line in [self.header, *self.taken]) - 1)
