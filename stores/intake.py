"""Files that come in: where they wait, how they are put there whole, and how they become entries."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from stores.csv_table import csv_table, separator_of
from stores.json_array import json_array
from stores.json_lines import json_lines
from stores.records import Decoded
from stores.source import Source, rejected

NAME_PATTERN = re.compile(r"[^.].*\.(json|jsonl|ndjson|csv)(\.gz)?\Z", re.DOTALL)
NOT_TEXT = {
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
    b"\x1f\x8b": "gzipped twice: unzip it once",
    b"PK\x03\x04": "a zip archive or an Excel workbook: save it as CSV",
    b"PAR1": "Parquet: export it as JSON Lines",
    b"BZh": "bzip2 data: use gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard data: use gzip",
    b"\xfd7zXZ": "xz data: use gzip",
}
"""First bytes by which files that cannot be read are known, and what to do about each."""

Format = Callable[..., Iterator[Decoded]]


def pending(inbox_dir: Path) -> list[Path]:
    """The files that wait to be taken, in name order; not `*.tmp`, hidden files, folders, links or anything else."""
    return input_files(inbox_dir, links=False)


def input_files(folder: Path, *, links: bool) -> list[Path]:
    """The files of a folder that are called like input, in name order; `links` to files count only where they are asked for.

    An inbox must not follow them: whoever may put a file there could have any file read that the platform can read.
    """
    found = [Path(entry.path) for entry in os.scandir(folder) if NAME_PATTERN.match(entry.name) and entry.is_file(follow_symlinks=links)]
    return sorted(found, key=lambda path: path.name)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def deliver(source: Path, inbox_dir: Path, *, name: str) -> Path:
    """Copies a file into the inbox under `name`, whole or not at all, and gives its path there.

    Raises:
        ValueError: `name` is not one that `pending` would list.
        FileExistsError: a file of this name waits already; it is left as it is.
    """
    if "/" in name or "\0" in name or not NAME_PATTERN.match(name):
        raise ValueError(f"{name!r} is no name for an input file: expected one ending in .json, .jsonl, .ndjson or .csv, or these with .gz")
    inbox_dir.mkdir(parents=True, exist_ok=True)
    target, partial = inbox_dir / name, inbox_dir / f".{name}.{os.getpid()}.tmp"
    try:
        with source.open("rb") as read, partial.open("wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
        os.link(partial, target)  # unlike a rename, this never replaces a file that is there
    finally:
        partial.unlink(missing_ok=True)
    directory = os.open(inbox_dir, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return target


def decode_file(path: Path, *, max_record_bytes: int) -> Iterator[Decoded]:
    """Every entry of a file in its order, and a Rejected for every record that cannot be read; streams, whatever the size.

    A JSON array, JSON Lines or CSV, each also gzipped, in UTF-8; told apart by content, and by name only where that is
    not clear. Whatever the bytes are, this raises nothing but OSError, and drops nothing silently.
    """
    with path.open("rb") as file:
        source = Source(file)
        foreign = next((advice for magic, advice in NOT_TEXT.items() if source.head.startswith(magic)), None)
        if foreign:
            yield rejected(1, f"the file is {foreign}", source.head)
        else:
            yield from _format(source.head, path.name)(source, max_record_bytes=max_record_bytes)


def _format(head: bytes, name: str) -> Format:
    """The reader of a file that begins with `head`."""
    text, name = head.lstrip(), name.removesuffix(".gz")
    first_line, _, rest = text.partition(b"\n")
    if text.startswith(b"["):
        a_line_gone_wrong = name.endswith((".jsonl", ".ndjson")) and rest.lstrip().startswith(b"{")
        return json_lines if a_line_gone_wrong and not first_line.rstrip().endswith((b"[", b",")) else json_array
    if not text.startswith(b"{") and (separator_of(first_line) or name.endswith(".csv")):
        return csv_table
    return json_lines
