"""What a customer's records amount to: their ties to campaigns and intents, and the vector of what they talk about.

Pure aggregation for the writing side; every figure is recomputed from all of the customer's records, never incremented.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from ranking.words import terms_of
from stores.records import DAY_MS, MOST_IMPRESSION_TIMES, CustomerTies, Event, Profile, Record, Tally

WORDS_KEPT = 1000
LONGEST_WORD = 128


class EngagementWeights(Struct, frozen=True, kw_only=True):
    """How much one engagement counts, by event. Records with one of `unweighted_intents` count nothing."""

    message: float = 1.0
    click: float = 2.0
    conversion: float = 5.0
    unweighted_intents: tuple[str, ...] = ("support", "complaint")


def weight_of(event: Event, intent: str | None, *, weights: EngagementWeights) -> float:
    """What one event of this intent adds to an engagement; 0 for exposures, dismissals and unweighted intents."""
    if intent in weights.unweighted_intents:
        return 0.0
    return {"message": weights.message, "click": weights.click, "conversion": weights.conversion}.get(event, 0.0)


def ties_of(user_id: str, records: Iterable[Record], *, weights: EngagementWeights) -> CustomerTies:
    """One customer's ties from all of their records, in any order.

    Engagement and intents come from what the customer said and did, never from an agent's records. A dismissal or a
    conversion counts whoever noted it: a no must not get lost. Of mailings only the groups are kept: they are exposure.
    """
    records = list(records)
    mailed = {record.group for record in records if record.event == "mailing" and record.group}
    ties = CustomerTies(
        user_id=user_id,
        engaged_with={},
        shown={},
        dismissed={},
        converted={},
        expressed={},
        profile=profile_of(records),
        mailed=tuple(sorted(mailed)),
        words=words_spoken(records),
        channels=channels_used(records, weights=weights),
    )
    for record in records:
        note(ties, record, weights=weights)
    return ties


def note(ties: CustomerTies, record: Record, *, weights: EngagementWeights) -> None:
    """Adds what one of the customer's records says to their ties."""
    marks = {"impression": ties.shown, "dismissal": ties.dismissed, "conversion": ties.converted}
    if record.campaign_id and record.event in marks:
        add(marks[record.event], record.campaign_id, record, 0.0)
    if record.campaign_id and record.event == "impression":
        seen = ties.shown[record.campaign_id]
        times_ms = tuple(sorted((*seen.times_ms, record.timestamp_ms))[-MOST_IMPRESSION_TIMES:])
        ties.shown[record.campaign_id] = replace(seen, times_ms=times_ms)
    if record.role != "customer" or record.event not in ("message", "click", "conversion"):
        return
    weight = weight_of(record.event, record.intent, weights=weights)
    if record.campaign_id and weight > 0:
        add(ties.engaged_with, record.campaign_id, record, weight)
    if record.intent:
        add(ties.expressed, record.intent, record, 0.0)


def profile_of(records: Iterable[Record]) -> Profile:
    """What was stated of a customer last, field by field: consent by channel, suppression, each attribute.

    Of two statements of one moment that with the greater message_id counts, so that the order they came in does not.
    """
    consent: dict[str, bool] = {}
    attributes: dict[str, str] = {}
    suppressed: bool | None = None
    stated = ((record.timestamp_ms, record.message_id, record.profile) for record in records if record.profile is not None)
    for _, _, said in sorted(stated, key=lambda each: each[:2]):
        consent.update(said.consent)
        attributes.update(said.attributes)
        suppressed = suppressed if said.suppressed is None else said.suppressed
    return Profile(consent=consent, suppressed=suppressed, attributes=attributes)


def add(tallies: dict[str, Tally], key: str, record: Record, weight: float) -> None:
    """Counts one record towards the tally at `key`."""
    seen = tallies.get(key, Tally(count=0, weight=0.0, last_at_ms=record.timestamp_ms))
    tallies[key] = replace(seen, count=seen.count + 1, weight=seen.weight + weight, last_at_ms=max(seen.last_at_ms, record.timestamp_ms))


def words_spoken(records: Iterable[Record]) -> dict[str, Tally]:
    """How often one customer said each word and each phrase, from all of their records, in any order: the 1,000 most used.

    Only the customer's own messages count, each once for every word in it. Among words used equally often the one said
    last goes first, then the alphabet decides; the result is in that order.
    """
    tallies: dict[str, Tally] = {}
    for record in records:
        note_words(tallies, record)
    return most_used(tallies)


def note_words(tallies: dict[str, Tally], record: Record) -> None:
    """Counts the words and phrases of one record, where the customer speaks in it. What is longer than 128 letters is none."""
    for word in set(terms_of(record.message or "")) if record.speaks else ():
        if len(word) <= LONGEST_WORD:
            add(tallies, word, record, 0.0)


def phrases_said(record: Record) -> set[str]:
    """The phrases of one record that `note_words` counts."""
    return {word for word in terms_of(record.message or "") if word.startswith('"') and len(word) <= LONGEST_WORD}


def most_used(tallies: Mapping[str, Tally]) -> dict[str, Tally]:
    """The 1,000 words most used, in order."""
    return dict(sorted(tallies.items(), key=lambda held: (-held[1].count, -held[1].last_at_ms, held[0]))[:WORDS_KEPT])


def channels_used(records: Iterable[Record], *, weights: EngagementWeights) -> dict[str, int]:
    """How often one customer engaged with a campaign by each channel, in order of channel."""
    found: dict[str, int] = {}
    for record in records:
        if (
            record.channel
            and record.campaign_id
            and record.role == "customer"
            and weight_of(record.event, record.intent, weights=weights) > 0
        ):
            found[record.channel] = found.get(record.channel, 0) + 1
    return dict(sorted(found.items()))


def user_vector(vectors: NDArray[np.float32], timestamps_ms: NDArray[np.int64], half_life_days: float) -> NDArray[np.float32]:
    """The recency-weighted mean of one customer's message vectors, float32, (dim,), of length 1.

    `vectors` is float32, (n, dim), n >= 1; `timestamps_ms` is (n,). Weights halve every `half_life_days`, counted from
    the customer's own newest message, so that time passing changes nothing. Vectors that cancel out to nothing give
    way to the newest one.

    Raises:
        ValueError: there is no vector, or not one timestamp per vector.
    """
    if len(vectors) == 0 or len(vectors) != len(timestamps_ms):
        raise ValueError(f"{len(vectors)} vectors and {len(timestamps_ms)} timestamps")
    ages_days = (np.max(timestamps_ms) - timestamps_ms) / DAY_MS
    mean: NDArray[Any] = np.exp2(-ages_days / half_life_days) @ vectors.astype(np.float64)
    if (length := np.linalg.norm(mean)) < 1e-6:
        mean = vectors[int(np.argmax(timestamps_ms))].astype(np.float64)
        length = np.linalg.norm(mean)
    return np.asarray(mean / length, dtype=np.float32)
