"""A waiting file loses the records picked, and nothing else of it changes."""

import gzip
import json
from pathlib import Path

import pytest

from stores.intake import decode_file
from stores.records import Decoded, Record, Rejected
from stores.rewriting import counted, rewritten

LIMIT = 1 << 20
OTHER_LINES = b'{ "user_id":"u_2","timestamp":"2026-01-01","message":"\xc5\xbc" }\n{broken\r\n'
LINES = b'{"user_id":"u_1","timestamp":"2026-01-01","message":"a"}\n\n' + OTHER_LINES + b"{broken u_1\n"
ARRAY = (
    b'\xef\xbb\xbf[\n {"user_id":"u_1","timestamp":"2026-01-01","message":"a"},\n'
    b' {"user_id": "u_2",\n  "timestamp":"2026-01-01","message":"b"},{"x":1}]\n'
)
TABLE = b'user_id,timestamp,message\nu_1,2026-01-01,"a\nb"\nu_2,2026-01-01,"c, ""d""\ne"\n\nu_3,2026-01-01,x\n'


def theirs(entry: Decoded) -> bool:
    return entry.user_id == "u_1" if isinstance(entry, Record) else isinstance(entry, Rejected) and "u_1" in entry.raw


def read(path: Path) -> list[Decoded]:
    return list(decode_file(path, max_record_bytes=LIMIT))


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "gone", "kept"),
    [
        ("a.jsonl", LINES, 2, OTHER_LINES),
        ("a.jsonl.gz", LINES, 2, OTHER_LINES),
        ("a.json", ARRAY, 1, b'[{"user_id": "u_2",\n  "timestamp":"2026-01-01","message":"b"},\n{"x":1}\n]'),
        ("a.csv", TABLE, 1, b'user_id,timestamp,message\nu_2,2026-01-01,"c, ""d""\ne"\nu_3,2026-01-01,x\n'),
        ("a.csv.gz", TABLE.replace(b"\n\n", b"\n"), 1, b'user_id,timestamp,message\nu_2,2026-01-01,"c, ""d""\ne"\nu_3,2026-01-01,x\n'),
    ],
)
def test_the_other_records_stay_byte_by_byte(tmp_path: Path, name: str, content: bytes, gone: int, kept: bytes) -> None:
    path = written(tmp_path, name, content)
    assert counted(path, theirs, max_record_bytes=LIMIT) == gone
    assert rewritten(path, theirs, max_record_bytes=LIMIT)
    now = path.read_bytes()
    assert (gzip.decompress(now) if name.endswith(".gz") else now) == kept
    assert counted(path, theirs, max_record_bytes=LIMIT) == 0
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", ARRAY.rstrip()[:-1]),
        ("a.csv", TABLE + b'u_4,2026-01-01,"never closed\n'),
        ("a.csv", b"user_id,timestamp,message\nu_1,2026-01-01,a,b\nu_1,2026-01-01,c\n" + b'"'),
    ],
)
def test_a_file_that_cannot_be_taken_apart_is_left_as_it_is(tmp_path: Path, name: str, content: bytes) -> None:
    path = written(tmp_path, name, content)
    before = read(path)
    assert not rewritten(path, theirs, max_record_bytes=LIMIT)
    assert (path.read_bytes(), read(path)) == (content, before)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_damaged_or_vanished_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl.gz", LINES)
    path.write_bytes(path.read_bytes()[:-9])
    assert not rewritten(path, theirs, max_record_bytes=LIMIT)


def test_a_file_that_was_replaced_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", LINES)

    def replacing(entry: Decoded) -> bool:
        path.write_bytes(b"another one, and longer than nothing")
        return theirs(entry)

    assert not rewritten(path, replacing, max_record_bytes=LIMIT)
    assert path.read_bytes().startswith(b"another one")


def test_everything_may_go(tmp_path: Path) -> None:
    line = {"user_id": "u_1", "timestamp": "2026-01-01", "message": "a"}
    for name, content in (("a.json", json.dumps([line]).encode()), ("b.jsonl", json.dumps(line).encode())):
        path = written(tmp_path, name, content)
        assert rewritten(path, theirs, max_record_bytes=LIMIT)
        assert read(path) == []
