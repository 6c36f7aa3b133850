"""What was posted of a customer, laid over what the graph knows, and how a body is split into events."""

import msgspec
import pytest

from ranking.feedback import with_feedback
from retrieval.feedback import split
from stores.evidence import OwnTie
from stores.records import Record


def record(event: str, campaign_id: str | None, *, at_ms: int = 5, message_id: str = "") -> Record:
    fields = {"message_id": message_id or f"{event}-{campaign_id}-{at_ms}", "user_id": "u", "timestamp_ms": at_ms, "event": event}
    return msgspec.convert(fields | {"campaign_id": campaign_id}, Record)


def test_a_dismissal_a_conversion_and_an_impression_are_laid_over_the_ties() -> None:
    own = (OwnTie(campaign_id="c_2", count=3, weight=4.0, shown=1, converted_at_ms=9),)
    posted = [record("dismissal", "c_1"), record("conversion", "c_2"), record("impression", "c_2"), record("click", "c_3")]
    assert with_feedback(own, posted) == (
        OwnTie(campaign_id="c_1", dismissed_at_ms=5),
        OwnTie(campaign_id="c_2", count=3, weight=4.0, shown=2, shown_at_ms=(5,), converted_at_ms=9),
        OwnTie(campaign_id="c_3"),
    )


def test_nothing_posted_changes_nothing() -> None:
    own = (OwnTie(campaign_id="c_1", count=1), OwnTie(campaign_id="c_2", shown=4))
    assert with_feedback(own, []) == own
    assert with_feedback(own, [record("message", None)]) == own


def test_the_same_event_again_counts_once_and_its_last_content_counts() -> None:
    posted = [record("impression", "c_1", message_id="m"), record("impression", "c_2", message_id="m")]
    assert with_feedback((), posted + posted) == (OwnTie(campaign_id="c_2", shown=1, shown_at_ms=(5,)),)


@pytest.mark.parametrize("time_ms", [-5, 0, 7])
def test_a_dismissal_at_any_time_is_one(time_ms: int) -> None:
    (tie,) = with_feedback((), [record("dismissal", "c_1", at_ms=time_ms)])
    assert tie.dismissed_at_ms > 0


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b' [{"a": 1}, 2]', [b'{"a": 1}', b"2"]),
        (b'{"events": [{"a": 1}]}', [b'{"a": 1}']),
        (b' {"user_id": "u"} ', [b'{"user_id": "u"}']),
        (b"[]", []),
    ],
)
def test_a_body_is_one_event_or_a_list_of_them(body: bytes, events: list[bytes]) -> None:
    assert split(body) == events


@pytest.mark.parametrize("body", [b"", b"7", b'"x"', b"{", b"[1", b'{"events": {}}', b"\xff"])
def test_any_other_body_cannot_be_split(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        split(body)
