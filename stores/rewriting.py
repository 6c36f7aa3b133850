"""Takes records out of a file that waits in the inbox, without touching the others."""

import csv
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import msgspec

from stores.csv_table import separator_of
from stores.intake import decode_file
from stores.records import Decoded, Rejected
from stores.source import GZIP_MAGIC, UTF8_MARK

MOST_BYTES = 64 * 1024 * 1024  # unzipped; such a file is held in memory three times over

Drop = Callable[[Decoded], bool]


class NotRewritable(ValueError):
    """The file is too large or too broken to be taken apart and put together again."""


def counted(path: Path, drop: Drop, *, max_record_bytes: int) -> int:
    """How many entries of a file `drop` picks."""
    return sum(map(drop, decode_file(path, max_record_bytes=max_record_bytes)))


def rewritten(path: Path, drop: Drop, *, max_record_bytes: int) -> bool:
    """Replaces a file by one without the entries that `drop` picks, whole at once; every other record stays byte by byte.

    The new file is read before it takes the old one's place. False, and the file is as it was, where it cannot be taken
    apart exactly, or has changed meanwhile.
    """
    before, packed = path.stat(), path.read_bytes()
    partial = path.with_name(f".{os.getpid()}.{path.name}")  # hidden, and with an ending by which it is read in the same way
    try:
        content = _unzipped(packed)
        entries = list(decode_file(path, max_record_bytes=max_record_bytes))
        content = _without(content, [drop(entry) for entry in entries])
        with partial.open("wb") as file:
            file.write(gzip.compress(content, mtime=0) if packed.startswith(GZIP_MAGIC) else content)
            file.flush()
            os.fsync(file.fileno())
        kept = (_placeless(entry) for entry in entries if not drop(entry))
        now = (_placeless(entry) for entry in decode_file(partial, max_record_bytes=max_record_bytes))
        if any(one != other for one, other in zip_longest(kept, now)) or _changed(before, path.stat()):
            return False
        partial.replace(path)
    except (NotRewritable, FileNotFoundError):
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _changed(before: os.stat_result, now: os.stat_result) -> bool:
    return (before.st_ino, before.st_size, before.st_mtime_ns) != (now.st_ino, now.st_size, now.st_mtime_ns)


def _placeless(entry: Decoded) -> Decoded:
    """An entry without the line that it stood in, which moves."""
    return msgspec.structs.replace(entry, line=0) if isinstance(entry, Rejected) else entry


def _unzipped(packed: bytes) -> bytes:
    """The file's text; at most MOST_BYTES of it."""
    source = gzip.GzipFile(fileobj=io.BytesIO(packed)) if packed.startswith(GZIP_MAGIC) else io.BytesIO(packed)
    try:
        content = source.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as exc:
        raise NotRewritable(str(exc)) from exc
    if len(content) > MOST_BYTES:
        raise NotRewritable("the file is too large")
    return content.removeprefix(UTF8_MARK)


def _without(content: bytes, dropped: Sequence[bool]) -> bytes:
    """The text without the records picked, of which there must be as many as were read."""
    if content.lstrip().startswith(b"["):
        frame, pieces, last = b"[", [bytes(piece) for piece in _elements(content)], b"\n]"
        kept = b",\n".join(piece for piece, gone in _paired(pieces, dropped) if not gone)
        return frame + kept + last
    lines = content.splitlines(keepends=True)
    header = next((number for number, line in enumerate(lines) if line.strip()), 0)
    separator = separator_of(lines[header].rstrip(b"\r\n")) if lines else None
    if separator is None or lines[header].lstrip().startswith(b"{"):
        pieces = [line for line in content.split(b"\n") if line.strip()]
        return b"".join(piece + b"\n" for piece, gone in _paired(pieces, dropped) if not gone)
    text = content.split(b"\n")[header:]
    rows = _rows(text[1:], separator)
    return b"\n".join([text[0], *(piece for piece, gone in _paired(rows, dropped) if not gone)]) + b"\n"


def _paired(pieces: Sequence[bytes], dropped: Sequence[bool]) -> Iterator[tuple[bytes, bool]]:
    if len(pieces) != len(dropped):
        raise NotRewritable(f"{len(pieces)} pieces, but {len(dropped)} records")
    return zip(pieces, dropped, strict=True)


def _elements(content: bytes) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(content, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise NotRewritable(str(exc)) from exc


def _rows(lines: Sequence[bytes], separator: str) -> list[bytes]:
    """The lines of each row that is not blank, joined as they were."""
    reader = csv.reader((line.decode(errors="surrogateescape") + "\n" for line in lines), delimiter=separator, strict=True)
    rows, begun = [], 0
    try:
        for row in reader:
            if any(map(str.strip, row)) or len(row) > 1:
                rows.append(b"\n".join(lines[begun : reader.line_num]))
            begun = reader.line_num
    except csv.Error as exc:
        raise NotRewritable(str(exc)) from exc
    return rows
