"""A quarantined text becomes lines that are read as the text was."""

from pathlib import Path

import pytest

from stores.intake import decode_file
from stores.replay import mended

LIMIT = 1 << 20


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", b'{"user_id": "u_1",   "timestamp": "2026-01-01", "message": "a  b\\n", "n": 0.30000000000000004}'),
        (
            "a.json",
            b'[{"user_id": "u_1", "timestamp": "2026-01-01",\n "message": "a"}, {"userid": 2, "timestamp": 1767225600, "event": "click"}]',
        ),
        ("a.jsonl", b'{"user_id": "u_1", "timestamp": "2026-01-01", "message": "a"}\n{"campaign_id": "c_1", "name": "Tent Week"}\n'),
        ("a.csv", b'user_id,timestamp,message,,mood\nu_1,2026-01-01,"a\nb",x,\nu_2,2026-01-01," c ",,good'),
        ("a.csv", b"timestamp;message;user_id\n2026-01-01;a,b;u_1"),
        ("a.jsonl", b'{"message_id": "m1", "deleted": true}'),
    ],
)
def test_a_text_is_read_as_the_intake_reads_it(tmp_path: Path, name: str, text: bytes) -> None:
    found = mended(text, max_record_bytes=LIMIT)
    (tmp_path / name).write_bytes(text)
    (tmp_path / "again.jsonl").write_bytes(b"\n".join(found.lines))
    expected, again = (list(decode_file(tmp_path / each, max_record_bytes=LIMIT)) for each in (name, "again.jsonl"))
    assert found.faults == []
    assert again == expected
    assert len(again) == len(found.lines)


def test_an_object_over_several_lines_is_one_record() -> None:
    text = b'{\n  "user_id": "u_1",\n  "timestamp": "2026-01-01",\n  "message": "a"\n}\n'
    assert mended(text, max_record_bytes=LIMIT).lines == [b'{"user_id":"u_1","timestamp":"2026-01-01","message":"a"}']


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "there is no record in it"),
        (b"  \n", "there is no record in it"),
        (b'{"user_id": "u_1", "message": "a"}', "timestamp is missing"),
        (b'{"user_id": "u_1"', "not valid JSON"),
        (b'{"user_id": "u_1", "user_id": "u_2", "timestamp": "2026-01-01", "message": "a"}', "user_id is given twice"),
        (b"user_id,timestamp,message\nu_1,2026-01-01,a,b", "the row has 4 cells"),
        (b"\xff\xfe", "not valid"),
        (b'{"user_id": "u_1", "timestamp": "2026-01-01", "message": "aaaa\xe2\x80\xa6 (cut: 20,000 bytes in all)', "not valid JSON"),
    ],
)
def test_what_cannot_be_read_has_its_reason(text: bytes, reason: str) -> None:
    found = mended(text, max_record_bytes=LIMIT)
    assert found.lines == []
    assert found.faults[0].startswith(reason)
