"""Whose a text is that could not be read, and whom a keyed hash stands for."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.records import ID_PATTERN, Record, Rejected, Tombstone
from stores.suppression import MOST_RUNS, NOBODY, Suppression, mark_of, owners_in

KEY = "k" * 32
GONE = Suppression(key=KEY, marks=frozenset({mark_of("u_1", KEY)}))


def rejected(raw: str) -> Rejected:
    return Rejected(line=1, reason="", raw=raw)


@pytest.mark.parametrize(
    ("raw", "owners"),
    [
        ('{"user_id": "u_1", "message": "to u_2"}', {"u_1"}),
        ('{"userid": 12.0, "timestamp": "soon"}', {"12"}),
        ('{"user_id": "u_1", "user_id": "u_2"}', {"u_1", "u_2"}),
        ('{"user_id": "u_1", "nested": {"user_id": "u_2"}}', {"u_1"}),
        ("user_id,timestamp,message\nu_1,soon,from u_2", {"u_1"}),
        ("timestamp;userid\nsoon;u_1", {"u_1"}),
    ],
)
def test_the_field_for_the_customer_counts_where_it_can_be_read(raw: str, owners: set[str]) -> None:
    assert owners_in(raw) == owners


@pytest.mark.parametrize(
    "raw",
    [
        "{user_id:u_1}",
        '{"user_id": "u_1", "message": "no end',
        r'{"user_id": "\u0075_1"',
        "user_id,timestamp,message\nu_1,soon,a,b",
        '{"user_id": ["u_1"]}',
        '{"customer": "u_1"}',
        "ask u_1.",
        '"' + "[" * 5000 + "u_1",
    ],
)
def test_elsewhere_every_word_that_could_be_an_id_counts(raw: str) -> None:
    assert GONE.covers(rejected(raw))


@pytest.mark.parametrize("raw", ["{user_id:u_10}", "{user_id:xu_1}", '{"user_id": "u_2", "message": "u_1"}', "", "\x00"])
def test_another_id_is_not_taken_for_it(raw: str) -> None:
    assert not GONE.covers(rejected(raw))


IDS = st.from_regex(ID_PATTERN).filter(lambda user_id: len(re.findall("[A-Za-z0-9]+", user_id)) <= MOST_RUNS)


@given(IDS, st.text(alphabet=" {}[]\"',;|<>/\n\té", max_size=9))
def test_an_id_of_few_parts_is_found_in_any_broken_text(user_id: str, around: str) -> None:
    assert user_id in owners_in(f"{{{around}{user_id}{around}")
    assert owners_in(json.dumps({"user_id": user_id, "n": 1})) == {user_id}


def test_a_long_text_is_looked_through_in_bounded_time() -> None:
    assert len(owners_in("a." * 5000)) < 100


def test_records_are_known_by_their_customer_and_a_deletion_is_nobodys() -> None:
    assert GONE.covers(Record(message_id="m", user_id="u_1", timestamp_ms=1))
    assert not GONE.covers(Record(message_id="m", user_id="u_2", timestamp_ms=1))
    assert not GONE.covers(Tombstone(message_id="u_1"))
    assert not NOBODY.covers(Record(message_id="m", user_id="u_1", timestamp_ms=1))


def test_without_the_key_nobody_is_found() -> None:
    assert mark_of("u_1", KEY) != mark_of("u_1", "K" * 32)
    assert len(mark_of("u_1", KEY)) == 64
