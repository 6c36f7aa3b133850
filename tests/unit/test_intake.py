import csv
import gzip
import hashlib
import io
import json
import tracemalloc
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stores import source
from stores.intake import decode_file, deliver, file_digest, pending
from stores.json_array import TRUNCATED
from stores.records import Campaign, Decoded, Profile, Record, Rejected, Tombstone, iso

MAX_BYTES = 2_200
LONG = "x" * 3_000


def line_of(number: int, **changed: object) -> str:
    return json.dumps({"message_id": f"m{number}", "user_id": "u1", "timestamp": "2026-06-01", "message": f"Word {number}"} | changed)


A, B, C = line_of(1), line_of(2), line_of(3)
HEADER = "message_id,user_id,timestamp,message\n"
ROWS = [f"m{number},u1,2026-06-01,Word {number}\n" for number in (1, 2, 3)]


@pytest.fixture
def read(tmp_path):
    """Decodes bytes as a file: what comes out as ids where they were read, and (line, reason) where they were not."""

    def decode(content: bytes | str, name: str = "file.json") -> list[Decoded]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(decode_file(path, max_record_bytes=MAX_BYTES))

    return decode


def ids(entries: list[Decoded]) -> list[str]:
    return [f"!{entry.line}" if isinstance(entry, Rejected) else entry.key for entry in entries]


def reasons(entries: list[Decoded]) -> list[str]:
    return [entry.reason for entry in entries if isinstance(entry, Rejected)]


WHOLE = {
    "json lines": f"{A}\n{B}\n{C}\n",
    "json lines without a last newline": f"{A}\n{B}\n{C}",
    "json lines from Windows": f"\ufeff{A}\r\n\r\n{B}\r\n  \r\n{C}\r\n",
    "an array": f"[{A},{B},{C}]",
    "an array on lines": f"\ufeff \n[\n{A},\n{B},\n{C}\n]\n",
    "an array from Windows": f"[\r\n  {A},\r\n  {B},\r\n  {C}\r\n]\r\n",
    "an array without commas": f"[{A} {B} {C},]",
    "an array, printed for people": json.dumps([json.loads(text) for text in (A, B, C)], indent=4),
    "csv": HEADER + "".join(ROWS),
    "csv without a last newline": (HEADER + "".join(ROWS)).rstrip(),
    "csv from Windows": ("\ufeff" + HEADER + "\n".join(ROWS)).replace("\n", "\r\n"),
    "csv from Europe": (HEADER + "".join(ROWS)).replace(",", ";"),
    "tab-separated": (HEADER + "".join(ROWS)).replace(",", "\t"),
}


@pytest.mark.parametrize("name", ["file.json", "file.jsonl", "file.csv", "file.json.gz"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE.keys())
def test_a_format_is_known_by_its_content_whatever_the_name(read, content, zipped, name):
    content = gzip.compress(content.encode()) if zipped else content
    entries = read(content, name)
    assert ids(entries) == ["m:m1", "m:m2", "m:m3"]
    assert [entry.message for entry in entries] == ["Word 1", "Word 2", "Word 3"]


@pytest.mark.parametrize("content", ["", " \n\r\n", "[]", "[ \n ]\n", HEADER, b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_a_file_without_records_has_no_entries(read, content):
    assert read(content) == []


def test_records_campaigns_and_tombstones_may_share_a_file(read):
    entries = read('{"campaign_id": "c1", "name": "Sale"}\n' + A + '\n{"message_id": "m0", "deleted": true}\n')
    assert [type(entry) for entry in entries] == [Campaign, Record, Tombstone]


DEEP = '{"user_id": ' + "[" * 900 + "]" * 900 + "}"
BROKEN_RECORDS = {
    "cut short": ('{"user_id": "u1", "mess', "not valid JSON"),
    "a bare word": ("hello", "not valid JSON: invalid character"),
    "NaN": ('{"user_id": NaN}', "not valid JSON: invalid character at byte 12"),
    "Infinity": ('{"user_id": -Infinity}', "not valid JSON: invalid"),
    "single quotes": ("{'user_id': 'u1'}", "not valid JSON"),
    "a number": ("42", "expected a JSON object, got 42"),
    "a list": ('[{"user_id": "u1"}]', "expected a JSON object, got a list"),
    "null": ("null", "expected a JSON object, got None"),
    "a huge number": ('{"user_id": 1e999}', "not valid JSON: Number out of range"),
    "a number without end": ('{"user_id": ' + "9" * 1500 + "}", "user_id is a number beyond 64 bits"),
    "nested without end": (DEEP, "user_id is a list"),
    "a name given twice": ('{"user_id": "u1", "message": "a", "message" : "b"}', "message is given twice in one object"),
    "a name given twice within": ('{"user_id": "u1", "x": {"a": 1, "a": 1}}', "a is given twice in one object"),
    "half a character": ('{"user_id": "\\ud800", "x": 1}', "not valid JSON: unexpected end of escaped utf-16 surrogate pair"),
    "a raw NUL": ('{"user_id": "a\0b"}', "not valid JSON: invalid character"),
    "an escaped NUL": (line_of(2, message="a\0b"), "message is 'a\\x00b': a NUL character"),
    "too long": (line_of(2, message=LONG), "bytes: expected at most 2,200"),
    "an unknown event": (line_of(2, event="sale"), "event is 'sale': expected one of"),
}


@pytest.mark.parametrize(("broken", "says"), BROKEN_RECORDS.values(), ids=BROKEN_RECORDS.keys())
@pytest.mark.parametrize("place", ["lines", "array", "array in one line", "first line", "last element", "last line"])
def test_a_broken_record_is_told_of_and_reading_goes_on(read, broken, says, place):
    contents = {
        "lines": (f"{A}\n{broken}\n{C}\n", ["m:m1", "!2", "m:m3"]),
        "array": (f"[\n{A},\n{broken},\n{C}\n]", ["m:m1", "!2", "m:m3"]),
        "array in one line": (f"[{A}, {broken}, {C}]", ["m:m1", "!2", "m:m3"]),
        "first line": (f"{broken}\n{A}\n{C}\n", ["!1", "m:m1", "m:m3"]),
        "last element": (f"[{A},{broken}\n]\n", ["m:m1", "!2"]),
        "last line": (f"{A}\n{broken}", ["m:m1", "!2"]),
    }
    content, expected = contents[place]
    entries = read(content, "file.jsonl")
    assert ids(entries) == expected
    if place != "last element" and "array" not in place:
        assert says in reasons(entries)[0]
    (bad,) = [entry for entry in entries if isinstance(entry, Rejected)]
    assert bad.raw.startswith(broken[:500].replace("\0", "\\x00"))
    assert len(bad.raw) < source.RAW_BYTES + 100


@pytest.mark.parametrize(
    "broken",
    [
        '{"user_id": "u1, "message": "a"}',
        '{"user_id": "u1}',
        '{"user_id": "u1"',
        '{"user_id": "u1", "x": [{"a": 1}, {"b": 2}], "y": oops}',
        '{"user_id": "u1", "x": {"a": {"b": }}}',
        '{"user_id": "u1"}}',
        "oops",
    ],
)
@pytest.mark.parametrize("separator", [",\n", ", ", ","])
def test_behind_a_broken_element_the_next_object_is_found(read, broken, separator):
    entries = read(f"[{separator.join([A, broken, B, C])}]")
    assert ids(entries)[:2] == ["m:m1", "!2"]
    assert ids(entries)[-2:] == ["m:m2", "m:m3"]


def test_a_long_element_with_records_inside_is_dropped_as_one(read):
    inner = json.dumps({"user_id": "u9", "items": [json.loads(line_of(n)) for n in range(100)], "text": 'a "quoted\\" } ] brace'})
    entries = read(f"[{A},{inner},{C}]")
    assert ids(entries) == ["m:m1", "!2", "m:m3"]
    assert f"the record has {len(inner):,} bytes" in reasons(entries)[0]


@pytest.mark.parametrize("depth", range(900, 1010, 5))
def test_no_depth_of_nesting_is_an_error(read, depth):
    broken = '{"user_id": "u1", "x\\":": ' + "[" * depth + "]" * depth + "}"
    assert ids(read(f"{A}\n{broken}\n{C}")) == ids(read(f"[{A},{broken},{C}]")) == ["m:m1", "!2", "m:m3"]


def test_invalid_utf8_is_told_of_with_its_place(read):
    bad = B.encode().replace(b"Word", b"W\xff\x80d")
    for content in (b"\n".join([A.encode(), bad, C.encode()]), b"[" + b",".join([A.encode(), bad, C.encode()]) + b"]"):
        entries = read(content)
        assert ids(entries) == ["m:m1", "!2", "m:m3"]
        assert "not valid UTF-8: " in reasons(entries)[0]
        assert "W\\xff\\x80d" in entries[1].raw


BROKEN_ENDS = {
    "an array cut between elements": (f"[{A},{B},", ["m:m1", "m:m2", "!3"], "the array is never closed"),
    "an array cut within an element": (f"[{A},{B},{C[:30]}", ["m:m1", "m:m2", "!3"], "the file ends, within this element"),
    "an array cut within a name": (f'[{A},{B},{{"us', ["m:m1", "m:m2", "!3"], "the file ends, within this element"),
    "an array with more behind it": (f"[{A},{B}]\n{C}\n", ["m:m1", "m:m2", "!3"], "the array ends before this, but the file goes on"),
    "an array of arrays": (f"[{A},[{B},{C}]]", ["m:m1", "!2"], "got a list"),
    "only a bracket": ("[", ["!1"], "the array is never closed"),
    "a line cut short": (f"{A}\n{B}\n{C[:30]}", ["m:m1", "m:m2", "!3"], "not valid JSON"),
}


@pytest.mark.parametrize(("content", "expected", "says"), BROKEN_ENDS.values(), ids=BROKEN_ENDS.keys())
def test_a_good_head_is_kept_and_one_rejected_tells_of_the_rest(read, content, expected, says):
    entries = read(content)
    assert ids(entries) == expected
    assert says in reasons(entries)[0]


def many(format_: str, rows: int = 3000) -> bytes:
    texts = [line_of(number, message=hashlib.sha256(str(number).encode()).hexdigest()) for number in range(rows)]
    if format_ == "csv":
        return (
            HEADER + "".join(f"m{number},u1,2026-06-01,{hashlib.sha256(str(number).encode()).hexdigest()}\n" for number in range(rows))
        ).encode()
    return ("[" + ",\n".join(texts) + "]" if format_ == "array" else "\n".join(texts)).encode()


@pytest.mark.parametrize("format_", ["array", "lines", "csv"])
def test_of_a_gzip_that_ends_early_all_whole_records_are_kept(read, format_):
    packed = gzip.compress(many(format_))
    entries = read(packed[: len(packed) // 2])
    assert len(entries) > 1000
    assert ids(entries)[:-1] == [f"m:m{number}" for number in range(len(entries) - 1)]
    assert reasons(entries) == ["the gzip data ends early, within this " + ("element" if format_ == "array" else "record")]


@pytest.mark.parametrize("format_", ["array", "lines", "csv"])
def test_a_gzip_without_its_checksum_loses_no_record_and_is_told_of(read, format_):
    entries = read(gzip.compress(many(format_, rows=5))[:-3])
    assert ids(entries) == [f"m:m{number}" for number in range(5)] + ["!7" if format_ == "csv" else "!6"]
    assert "the gzip data ends early" in reasons(entries)[0]


def test_a_damaged_gzip_keeps_what_comes_before_the_damage(read):
    packed = bytearray(gzip.compress(many("lines")))
    packed[-6] ^= 0xFF  # the checksum
    entries = read(bytes(packed))
    assert ids(entries)[:3000] == [f"m:m{number}" for number in range(3000)]
    assert reasons(entries) == ["the gzip data is damaged (incorrect data check): nothing from here on could be read"]


def test_a_gzip_of_several_members_is_one_file(read):
    assert ids(read(gzip.compress(f"{A}\n{B[:20]}".encode()) + gzip.compress(f"{B[20:]}\n{C}".encode()) + b"\0" * 512)) == [
        "m:m1",
        "m:m2",
        "m:m3",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (A.encode("utf-16"), "UTF-16 text: save it as UTF-8"),
        (gzip.compress(gzip.compress(A.encode())), "gzipped twice"),
        (b"PK\x03\x04rest", "a zip archive or an Excel workbook"),
        (b"PAR1rest", "Parquet"),
    ],
)
def test_a_file_of_another_kind_is_told_of_once(read, content, says):
    entries = read(content)
    assert ids(entries) == ["!1"]
    assert says in reasons(entries)[0]


BROKEN_ROWS = {
    "a missing cell": ("m2,u1,2026-06-01\n", "the row has 3 cells, the header names 4"),
    "a cell too many": ("m2,u1,2026-06-01,Well, no\n", "the row has 5 cells, the header names 4"),
    "text behind a quote": ('m2,u1,2026-06-01,"He said "hi" to me"\n', "a quote that belongs to the text is written twice"),
    "a bad value": ("m2,u1,tomorrow,Word\n", "timestamp is 'tomorrow'"),
    "a NUL": ("m2,u1,2026-06-01,a\0b\n", "a NUL character cannot be kept"),
    "too long": (f"m2,u1,2026-06-01,{LONG}\n", "bytes: expected at most 2,200"),
    "nothing but separators": (",,,\n", "user_id is missing"),
    "a quote never closed": ('m2,u1,2026-06-01,"and then\n', "a quote"),
    "a lone carriage return": ("m2,u1,2026-06-01,a\rb\n", "new-line character seen in unquoted field"),
}


@pytest.mark.parametrize(("broken", "says"), BROKEN_ROWS.values(), ids=BROKEN_ROWS.keys())
@pytest.mark.parametrize("tail", ["plain", "quoted", "twice quoted"])
def test_a_broken_row_is_told_of_and_reading_goes_on(read, broken, says, tail):
    third = {"plain": ROWS[2], "quoted": 'm3,u1,2026-06-01,"Word 3"\n', "twice quoted": 'm3,"u1",2026-06-01,"Word, ""3"""\n'}[tail]
    entries = read(HEADER + ROWS[0] + broken + third)
    assert ids(entries) == ["m:m1", "!3", "m:m3"]
    assert says in reasons(entries)[0]
    assert entries[1].raw.startswith(HEADER.strip() + "\n" + broken.strip().replace("\0", "\\x00")[:100])


def test_the_raw_text_of_a_row_is_a_file_that_can_be_mended(read):
    (bad,) = read(HEADER + "m2,u1,tomorrow,Word\n")
    (mended,) = read(bad.raw.replace("tomorrow", "2026-06-01"))
    assert mended.message_id == "m2"


def test_texts_of_csv_may_have_several_lines(read):
    entries = read(HEADER + 'm1,u1,2026-06-01,"One, ""two""\r\n\nthree"\n' + ROWS[1])
    assert (entries[0].message, ids(entries)) == ('One, "two"\r\n\nthree', ["m:m1", "m:m2"])


def test_a_wrong_row_of_several_lines_is_one_rejected(read):
    entries = read(HEADER + 'm1,u1,2026-06-01,"One\ntwo\nthree",more\n' + ROWS[1])
    assert ids(entries) == ["!2", "m:m2"]
    assert entries[0].raw.endswith('"One\ntwo\nthree",more')


def test_invalid_utf8_in_csv_is_told_of(read):
    entries = read((HEADER + "".join(ROWS)).encode().replace(b"Word 2", b"W\xfcrd"))
    assert ids(entries) == ["m:m1", "!3", "m:m3"]
    assert "W\\xfcrd" in entries[1].raw


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("message_id,user_id,timestamp,user_id\n", "the header names user_id twice"),
        ("m0,u0,2026-05-31,Word 0\n", "the first line names no known column"),
        (f"user_id,{LONG}\n", "bytes: expected at most 2,200"),
    ],
)
def test_with_a_header_that_cannot_be_used_every_row_is_told_of(read, header, says):
    entries = read(header + "".join(ROWS), "file.csv")
    assert ids(entries) == ["!1", "!2", "!3", "!4"]
    assert all(says in reason for reason in reasons(entries))


def test_columns_without_a_name_are_kept_and_empty_cells_are_absent(read):
    (entry,) = read("user_id,timestamp,event, intent ,,mood,\nu1,2026-06-01,click,,x,,\n")
    assert (entry.intent, entry.extra) == (None, {"column_5": "x"})


def test_what_msgspec_says_of_the_end_of_a_value_is_what_the_array_reader_relies_on():
    with pytest.raises(msgspec.DecodeError, match=r"trailing characters \(byte 9\)"):
        msgspec.json.decode(b'{"a": 1}, {"b": 2}', type=msgspec.Raw)
    with pytest.raises(msgspec.DecodeError, match=TRUNCATED):
        msgspec.json.decode(b'{"a": {"b": 2}', type=msgspec.Raw)
    with pytest.raises(msgspec.DecodeError, match=r"\(byte 7\)"):
        msgspec.json.decode(b'{"a": [oops], "b": 2}', type=msgspec.Raw)


# Whatever comes in


PRINTABLE = st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], max_codepoint=0x24F)
LABELS = st.none() | st.text(PRINTABLE, min_size=1, max_size=12).map(partial(unicodedata.normalize, "NFC"))
IDS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.:@-]{0,12}\Z")
WRITTEN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: (moment.replace(microsecond=0) - EPOCH) // timedelta(milliseconds=1)
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text("abcdefg_", min_size=1, max_size=5)
PROFILES = st.builds(
    Profile,
    consent=st.dictionaries(NAMES, st.booleans(), max_size=2),
    suppressed=st.booleans(),
    attributes=st.dictionaries(NAMES, NAMES, max_size=2),
)
RECORDS = st.builds(
    Record,
    message_id=IDS,
    user_id=IDS,
    timestamp_ms=MOMENTS,
    event=st.sampled_from(["message", "impression", "click", "conversion", "dismissal", "mailing"]),
    message=WRITTEN.filter(lambda text: not text.isspace()),
    role=st.sampled_from(["customer", "agent"]),
    campaign_id=st.none() | IDS,
    group=LABELS,
    intent=LABELS,
    channel=LABELS,
    session_id=LABELS,
    extra=st.dictionaries(st.text(max_size=6), JSON_VALUES, max_size=3),
) | st.builds(Record, message_id=IDS, user_id=IDS, timestamp_ms=MOMENTS, event=st.just("profile"), profile=PROFILES)


def as_input(record: Record) -> dict[str, object]:
    fields = msgspec.to_builtins(record)
    fields |= fields.pop("profile") or {}
    return {name: value for name, value in fields.items() if name != "timestamp_ms"} | {"timestamp": iso(record.timestamp_ms)}


def as_csv(records: list[Record]) -> str:
    inputs = [as_input(record) for record in records]
    rows = [{name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()} for row in inputs]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[*dict.fromkeys(name for row in rows for name in row)])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


WRITERS = {
    "lines": lambda records: "\n".join(json.dumps(as_input(record)) for record in records),
    "lines in UTF-8": lambda records: "\r\n".join(json.dumps(as_input(record), ensure_ascii=False) for record in records),
    "array": lambda records: json.dumps([as_input(record) for record in records], ensure_ascii=False),
    "array with indents": lambda records: json.dumps([as_input(record) for record in records], indent=1),
    "csv": as_csv,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
@given(records=st.lists(RECORDS, min_size=1, max_size=4), zipped=st.booleans(), piece=st.sampled_from([1, 7, 64, 262_144]))
@settings(max_examples=25, deadline=None)
def test_any_records_written_in_any_format_are_read_back_as_they_were(tmp_path_factory, write, records, zipped, piece):
    path = tmp_path_factory.mktemp("in") / "file"
    content = write(records).encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "PIECE_BYTES", piece)
        patch.setattr(source, "HEAD_BYTES", 128)
        assert list(decode_file(path, max_record_bytes=1_000_000)) == records


SNIPPETS = st.sampled_from(
    [A, B, C, HEADER, *ROWS, "[", "]", "{", "}", ",", '"', "\n", "\r\n", "\\", "\\u12", "NaN", " ", "\0", '"a":', "é"]
)
NOISE = st.lists(SNIPPETS.map(str.encode) | st.binary(max_size=4), max_size=25).map(b"".join)


@given(content=NOISE | st.binary(max_size=300), zipped=st.booleans(), cut=st.integers(0, 30), piece=st.sampled_from([1, 5, 50, 262_144]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_without_an_error_and_nothing_is_lost_silently(tmp_path_factory, content, zipped, cut, piece):
    path = tmp_path_factory.mktemp("in") / "file.jsonl"
    data = gzip.compress(content) if zipped else content
    path.write_bytes(data[: max(0, len(data) - cut)] if zipped else data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "PIECE_BYTES", piece)
        patch.setattr(source, "HEAD_BYTES", 128)
        entries = list(decode_file(path, max_record_bytes=200))
    for entry in entries:
        if isinstance(entry, Rejected):
            assert entry.reason
            assert entry.line > 0
            (entry.reason + entry.raw).encode()
            assert "\0" not in entry.raw
            assert len(entry.raw) <= source.RAW_BYTES + 50
    if zipped and cut and len(data) - cut >= 2:
        assert isinstance(entries[-1], Rejected)


@given(st.lists(st.sampled_from([A, "oops", '{"user_id": "u1"', "", "  ", "[1]", LONG, C]), max_size=12))
def test_every_line_with_content_is_one_entry(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("in") / "file.jsonl"
    path.write_text("\n".join([A, *texts]))
    entries = list(decode_file(path, max_record_bytes=MAX_BYTES))
    assert len(entries) == 1 + sum(bool(text.strip()) for text in texts)


# Memory


def written(path: Path, format_: str, megabytes: int) -> None:
    row = {"message_id": "m", "user_id": "u1", "timestamp": "2026-06-01", "message": "word " * 200}
    with path.open("w") as file:
        file.write({"array": "[", "lines": "", "csv": HEADER}[format_])
        for _ in range(megabytes * 1000):
            text = ",".join(row.values()) if format_ == "csv" else json.dumps(row)
            file.write(text + (",\n" if format_ == "array" else "\n"))
        file.write("{}]" if format_ == "array" else "")


@pytest.mark.parametrize("format_", ["array", "lines", "csv"])
def test_a_large_file_takes_the_memory_of_a_few_pieces(tmp_path, format_):
    path = tmp_path / "file.json"
    written(path, format_, megabytes=12)
    assert peak_bytes(path) < 4_000_000


@pytest.mark.parametrize("head", [b'[{"user_id": "', b'{"user_id": "', b'user_id,message\nu1,"', b"[" * 100, b'[{"a": oops'])
def test_a_record_without_end_takes_no_memory_either(tmp_path, head):
    path = tmp_path / "file.json"
    path.write_bytes(head + b"a word and another\\" * 1_000_000)
    assert peak_bytes(path) < 6_000_000


def test_a_gzip_of_nothing_but_one_byte_takes_no_memory_either(tmp_path):
    path = tmp_path / "file.json.gz"
    path.write_bytes(gzip.compress(b"x" * 100_000_000, compresslevel=1))
    assert peak_bytes(path) < 6_000_000


def peak_bytes(path: Path) -> int:
    tracemalloc.start()
    try:
        for _ in decode_file(path, max_record_bytes=500_000):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# The inbox


def test_only_whole_input_files_are_pending_in_name_order(tmp_path):
    for name in ["b.jsonl", "a.json", "c.csv.gz", "d.ndjson", "e.tmp", ".hidden.json", "f.jsonl.tmp", "g.txt", "h.gz", "B.json"]:
        (tmp_path / name).write_text("{}")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    assert [path.name for path in pending(tmp_path)] == ["B.json", "a.json", "b.jsonl", "c.csv.gz", "d.ndjson"]


def test_a_digest_is_the_sha256_of_the_bytes(tmp_path):
    (tmp_path / "a.json").write_bytes(b"[]")
    assert file_digest(tmp_path / "a.json") == hashlib.sha256(b"[]").hexdigest()


def test_a_file_is_delivered_whole_under_its_new_name(tmp_path):
    (tmp_path / "source").write_text(A)
    path = deliver(tmp_path / "source", tmp_path / "inbox", name="1-a.jsonl")
    assert (path, path.read_text()) == (tmp_path / "inbox" / "1-a.jsonl", A)
    assert [entry.name for entry in (tmp_path / "inbox").iterdir()] == ["1-a.jsonl"]


def test_a_delivery_never_replaces_a_file_that_waits(tmp_path):
    (tmp_path / "source").write_text(A)
    waiting = tmp_path / "a.jsonl"
    waiting.write_text(B)
    with pytest.raises(FileExistsError):
        deliver(tmp_path / "source", tmp_path, name="a.jsonl")
    assert waiting.read_text() == B
    assert pending(tmp_path) == [waiting]


@pytest.mark.parametrize("name", ["", "a.txt", ".a.json", "a.json.tmp", "../a.json", "x/a.json", "a\0.json"])
def test_a_delivery_under_a_name_that_would_never_be_taken_is_refused(tmp_path, name):
    (tmp_path / "source").write_text(A)
    with pytest.raises(ValueError, match="is no name for an input file"):
        deliver(tmp_path / "source", tmp_path, name=name)
