"""What a customer's records amount to: their ties to campaigns and intents, and the vector of what they talk about.

Pure aggregation for the writing side; every figure is recomputed from all of the customer's records, never incremented.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from stores.records import MOST_IMPRESSION_TIMES, CustomerTies, Event, Profile, Record, Tally

DAY_MS = 86_400_000


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
    )
    marks = {"impression": ties.shown, "dismissal": ties.dismissed, "conversion": ties.converted}
    for record in records:
        if record.campaign_id and record.event in marks:
            add(marks[record.event], record.campaign_id, record, 0.0)
        if record.role != "customer" or record.event not in ("message", "click", "conversion"):
            continue
        weight = weight_of(record.event, record.intent, weights=weights)
        if record.campaign_id and weight > 0:
            add(ties.engaged_with, record.campaign_id, record, weight)
        if record.intent:
            add(ties.expressed, record.intent, record, 0.0)
    for campaign_id, times_ms in impression_times(records).items():
        ties.shown[campaign_id] = replace(ties.shown[campaign_id], times_ms=times_ms)
    return ties


def impression_times(records: Iterable[Record]) -> dict[str, tuple[int, ...]]:
    """When each campaign was shown, the last 100 times, in order."""
    times: dict[str, list[int]] = {}
    for record in records:
        if record.event == "impression" and record.campaign_id:
            times.setdefault(record.campaign_id, []).append(record.timestamp_ms)
    return {campaign_id: tuple(sorted(found)[-MOST_IMPRESSION_TIMES:]) for campaign_id, found in times.items()}


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
    tallies[key] = Tally(count=seen.count + 1, weight=seen.weight + weight, last_at_ms=max(seen.last_at_ms, record.timestamp_ms))


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
