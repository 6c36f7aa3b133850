"""The bytes of one input file: unzipped where they are gzipped, in pieces or in lines, never much of them at once."""

import zlib
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, NamedTuple

from stores.records import Rejected

PIECE_BYTES = 262_144
HEAD_BYTES = 65_536
RAW_BYTES = 10_000
GZIP_MAGIC = b"\x1f\x8b"
UTF8_MARK = b"\xef\xbb\xbf"
GZIP_FORMAT = 31  # zlib's name for "with the header and the checksum of gzip"


class Source:
    """A file's bytes in pieces, to be iterated once. `head` is their beginning, there to be looked at before.

    Once there are no more pieces, `damage` says why there should have been: a gzip that ends early or is broken.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.damage: str | None = None
        start = file.read(len(GZIP_MAGIC))
        file.seek(0)
        self._pieces = self._unzipped(file) if start == GZIP_MAGIC else iter(lambda: file.read(PIECE_BYTES), b"")
        self.head = b""
        for piece in self._pieces:
            self.head += piece
            if len(self.head) >= HEAD_BYTES:
                break
        self.head = self.head.removeprefix(UTF8_MARK)

    def __iter__(self) -> Iterator[bytes]:
        """Every piece; none of them is empty."""
        yield from filter(None, chain([self.head], self._pieces))

    def _unzipped(self, file: BinaryIO) -> Iterator[bytes]:
        """Pieces of at most PIECE_BYTES, however well the file is compressed; all that comes before a fault in it."""
        member = before = zlib.decompressobj(GZIP_FORMAT)
        packed = b""
        try:
            while packed := packed or file.read(PIECE_BYTES):
                if member.eof:  # a gzip may hold several members, and zeros behind them
                    if not (packed := packed.lstrip(b"\0")):
                        continue
                    member = zlib.decompressobj(GZIP_FORMAT)
                before = member.copy()
                piece = member.decompress(packed, PIECE_BYTES)
                packed = member.unused_data if member.eof else member.unconsumed_tail
                if piece:
                    yield piece
            before = member.copy()
            yield member.flush()
        except zlib.error as exc:
            self.damage = f"the gzip data is damaged ({str(exc).rpartition(': ')[2]})"
            yield _before_the_fault(before, packed)
        else:
            self.damage = None if member.eof else "the gzip data ends early"


def _before_the_fault(member: "zlib._Decompress", packed: bytes) -> bytes:
    """What the bytes unzip to until they do not: zlib itself drops the good part of a call that fails."""
    good: list[bytes] = []
    try:
        for at in range(len(packed)):
            good.append(member.decompress(packed[at : at + 1]))
    except zlib.error:
        pass
    return b"".join(good)


class Line(NamedTuple):
    """One line without its newline. `size` is its whole length in bytes: more than `data` where it is too long to be kept.
    `cut` says that the file broke off within this line."""

    number: int
    data: bytes
    size: int
    cut: bool = False


def lines(source: Source, *, max_bytes: int) -> Iterator[Line]:
    """Every line of a file, counted from 1; of one longer than `max_bytes` only the head that a Rejected shows."""
    number, pending, size = 1, b"", 0
    for piece in source:
        first, *others = piece.split(b"\n")
        size += len(first)
        pending = pending + first if size <= max_bytes else (pending + first[:RAW_BYTES])[: RAW_BYTES + 1]
        for other in others:
            yield Line(number, pending, size)
            number, pending, size = number + 1, other, len(other)
    if size:
        yield Line(number, pending, size, cut=source.damage is not None)


def rejected(line: int, reason: str, raw: bytes, *, size: int | None = None) -> Rejected:
    """A Rejected whose raw text is valid and bounded: bytes that are not UTF-8 show as \\xNN, and a cut says so.

    `size` is the record's whole length in bytes where `raw` is only its head.
    """
    size = len(raw) if size is None else size
    text = raw[:RAW_BYTES].decode(errors="backslashreplace").replace("\0", "\\x00")
    whole = size <= RAW_BYTES and len(text) <= RAW_BYTES
    return Rejected(line=line, reason=reason, raw=text if whole else f"{text[:RAW_BYTES]}… (cut: {size:,} bytes in all)")


def too_long(size: int, max_bytes: int) -> str:
    """The reason of a record that is longer than one may be."""
    return f"the record has {size:,} bytes: expected at most {max_bytes:,} (setting max_record_bytes)"
