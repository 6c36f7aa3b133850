"""A file that is one JSON array → entries, element by element: an array of any size takes the memory of one record.

Where an element ends is asked of msgspec, which reads one value and then names the byte at which something else follows.
"""

import re
from collections.abc import Callable, Iterator

import msgspec

from stores.json_lines import JSON_ERRORS, decoded, decoded_value, not_json
from stores.records import Decoded
from stores.source import RAW_BYTES, Source, rejected, too_long

OPENING, CLOSING = b"{]"
OVERLAP_BYTES = 64  # so much white space between two elements is still recognised behind a broken one
LATE_BYTES = 16  # a fault so near to where the data ends may be none: of 12.5 the first three bytes are no number
TRUNCATED = "Input data was truncated"

_BETWEEN = re.compile(rb"[\s,]*")
_NEXT_OBJECT = re.compile(rb",\s*\{")
_NESTING = re.compile(rb'\\.|["{}\[\]]', re.DOTALL)
_FOLLOWED = re.compile(r"trailing characters \(byte (\d+)\)")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_skimmer = msgspec.json.Decoder(msgspec.Raw)

Find = Callable[[bytes], tuple[int, bool]]
"""Given bytes not yet passed: how many of them to pass, and whether the end that is looked for is there."""


def json_array(source: Source, *, max_record_bytes: int) -> Iterator[Decoded]:
    """The entries of a JSON array; `line` counts its elements from 1. Commas are not judged, only what stands between them.

    Never raises on any bytes. Behind a broken element reading goes on at the next object; where the file ends too early,
    the good head is kept and one Rejected tells of the rest.
    """
    window = _Window(source)
    window.at = window.data.index(b"[") + 1
    position = 1
    while window.between():
        if window.data[window.at] == CLOSING:
            yield from _behind(window, source, position)
            return
        yield _element(window, source, position, max_record_bytes)
        if window.told:
            return
        position += 1
    yield rejected(position, source.damage or "the array is never closed: the file ends before this element", b"")


class _Window:
    """The part of the file that is in memory: `data`, read up to `at`. `told` says that an entry has told of the file's end."""

    def __init__(self, source: Source) -> None:
        self.pieces = iter(source)
        self.data = next(self.pieces, b"")
        self.at = 0
        self.told = False

    def more(self) -> bool:
        """Reads one more piece and lets go of what is behind `at`; False where the file has ended."""
        if piece := next(self.pieces, b""):
            self.data, self.at = self.data[self.at :] + piece, 0
        return bool(piece)

    def between(self) -> bool:
        """Moves to the next element or the closing bracket; False where the file has ended before."""
        while True:
            if match := _BETWEEN.match(self.data, self.at):
                self.at = match.end()
            if self.at < len(self.data):
                return True
            if not self.more():
                return False

    def take(self, size: int) -> bytes:
        """The next bytes, moving behind them."""
        taken = self.data[self.at : self.at + size]
        self.at += size
        return taken

    def drop(self, find: Find) -> tuple[bytes, int]:
        """Moves to the end that `find` sees, holding a piece at a time: the head of what was dropped, and its size.

        Where the file ends first, all of it is dropped but the bracket that closes the array.
        """
        head, size, found, ended = b"", 0, False, False
        while not found and not ended:
            step, found = find(self.data[self.at :])
            head, size = (head + self.take(step))[:RAW_BYTES], size + step
            ended = not found and not self.more()
        if ended:
            rest = self.data[self.at :].rstrip()
            self.told = not rest.endswith(b"]")
            step = len(self.data) - self.at if self.told else len(rest) - 1
            head, size = (head + self.take(step))[:RAW_BYTES], size + step
        return head, size


def _element(window: _Window, source: Source, position: int, max_bytes: int) -> Decoded:
    """The entry of the element at the window's place, which moves behind it."""
    while True:
        data, at = window.data, window.at
        brace = data.find(b"}", at) + 1 if data[at] == OPENING else 0
        if 0 < brace - at <= max_bytes:
            raw = data[at:brace]
            try:  # nearly every record is a flat object: it ends at the first brace
                value = msgspec.json.decode(raw)
            except JSON_ERRORS:
                pass
            else:
                window.at = brace
                return decoded_value(position, raw, value)
        end = _end(data, at)
        if isinstance(end, int):
            raw = window.take(end - at).rstrip()
            return decoded(position, raw) if len(raw) <= max_bytes else rejected(position, too_long(len(raw), max_bytes), raw)
        truncated = str(end) == TRUNCATED
        if truncated and len(data) - at > max_bytes:
            head, size = window.drop(_Nesting())
            return rejected(position, too_long(size, max_bytes), head, size=size)
        if (truncated or _fault_at(data, at, end) > len(data) - LATE_BYTES) and window.more():
            continue
        if not truncated:
            return _broken(window, position, end)
        window.told = True
        return rejected(position, f"{source.damage or 'the file ends'}, within this element", data[at:])


def _end(data: bytes, at: int) -> int | Exception:
    """Where the value at `at` ends, or the fault that it shows: TRUNCATED is that of one that may go on in the next piece."""
    try:
        _skimmer.decode(memoryview(data)[at:])
    except JSON_ERRORS as exc:
        followed = _FOLLOWED.search(str(exc))
        # without its traceback: that leads back to the caller's frame, and would keep a piece of the file alive with it
        return at + int(followed[1]) - 1 if followed else exc.with_traceback(None)
    return len(data) if data[at] in b'{["' else msgspec.DecodeError(TRUNCATED)


def _fault_at(data: bytes, at: int, fault: Exception) -> int:
    """The place in the data that a fault speaks of: the beginning of the element where it names none."""
    named = _AT_BYTE.search(str(fault))
    return at + int(named[1]) if named else at


def _broken(window: _Window, position: int, fault: Exception) -> Decoded:
    """The Rejected of an element that is not JSON; the window moves to where the next one seems to begin.

    That is looked for from the last text before the fault: when a quote is missing, the next element begins within it.
    """
    data, at = window.data, window.at
    reason = not_json(data[at:], fault)
    if isinstance(fault, RecursionError):
        head, size = window.drop(_Nesting())
    else:
        quote = data.rfind(b'"', at, _fault_at(data, at, fault))
        head, size = window.drop(_NextObject(max(data.rfind(b'"', at, max(quote, at)), at) - at))
    return rejected(position, reason + "; nothing behind it could be read" * window.told, head, size=size)


class _NextObject:
    """Finds the comma behind which the next object begins, from `start` on."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __call__(self, data: bytes) -> tuple[int, bool]:
        if match := _NEXT_OBJECT.search(data, self.start):
            return match.start(), True
        passed = max(0, len(data) - OVERLAP_BYTES)
        self.start = max(0, self.start - passed)
        return passed, False


class _Nesting:
    """Finds the end of a value by its brackets alone, however long it is."""

    def __init__(self) -> None:
        self.depth = 0
        self.quoted = False

    def __call__(self, data: bytes) -> tuple[int, bool]:
        end = 0
        for match in _NESTING.finditer(data):
            end = match.end()
            if match[0] == b'"':
                self.quoted = not self.quoted
            elif not self.quoted and len(match[0]) == 1:
                self.depth += 1 if match[0] in b"{[" else -1
            if self.depth <= 0 and not self.quoted:
                return end, True
        half_an_escape = data.endswith(b"\\") and end < len(data)
        return len(data) - half_an_escape, False


def _behind(window: _Window, source: Source, position: int) -> Iterator[Decoded]:
    """Nothing where only white space follows the array; else the one Rejected that tells of the rest."""
    window.take(1)
    size, head = 0, b""
    while True:
        rest = window.take(len(window.data) - window.at)
        if head or rest.strip():
            head, size = (head + rest)[:RAW_BYTES], size + len(rest)
        if not window.more():
            break
    if head or source.damage:
        yield rejected(position, source.damage or "the array ends before this, but the file goes on", head, size=size)
