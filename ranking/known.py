"""What is known of one customer as their records come in, one after the other."""

from copy import copy

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ranking.engagement import EngagementWeights, note, note_words, user_vector, weight_of
from stores.evidence import OwnTie
from stores.records import CustomerTies, Record, Tally

Vector = NDArray[np.float32]


class Conditions(Struct, frozen=True, kw_only=True):
    """What the evidence depends on besides the records; the same values as the platform's settings of these names."""

    weights: EngagementWeights = EngagementWeights()
    user_vector_half_life_days: float = 30.0
    neighbours: int = 50


class Known:
    """All that is known of one customer so far."""

    def __init__(self, user_id: str) -> None:
        self.ties = CustomerTies(user_id=user_id, engaged_with={}, shown={}, dismissed={}, converted={}, expressed={})
        self.words: dict[str, Tally] = {}
        self.channels: dict[str, int] = {}
        self.groups: set[str] = set()
        self.statements: list[Record] = []
        self.vectors: list[Vector] = []
        self.spoke_at_ms: list[int] = []

    def copied(self) -> "Known":
        """A copy that can learn more without this one learning it."""
        other = copy(self)
        ties = self.ties
        other.ties = CustomerTies(
            user_id=ties.user_id,
            engaged_with=dict(ties.engaged_with),
            shown=dict(ties.shown),
            dismissed=dict(ties.dismissed),
            converted=dict(ties.converted),
            expressed=dict(ties.expressed),
        )
        other.words, other.channels, other.groups = dict(self.words), dict(self.channels), set(self.groups)
        other.statements = list(self.statements)
        other.vectors, other.spoke_at_ms = list(self.vectors), list(self.spoke_at_ms)
        return other

    def learn(self, record: Record, vector: Vector | None, conditions: Conditions) -> None:
        """Adds one record, with the vector of its text where it has one."""
        note(self.ties, record, weights=conditions.weights)
        note_words(self.words, record)
        if record.event == "mailing" and record.group:
            self.groups.add(record.group)
        if record.profile is not None:
            self.statements.append(record)
        if record.channel and engages(record, conditions.weights):
            self.channels[record.channel] = self.channels.get(record.channel, 0) + 1
        if record.speaks and vector is not None:
            self.vectors.append(vector)
            self.spoke_at_ms.append(record.timestamp_ms)

    def vector(self, half_life_days: float) -> Vector | None:
        """The customer's own vector, or None for one who said nothing."""
        if not self.vectors:
            return None
        return user_vector(np.stack(self.vectors), np.array(self.spoke_at_ms, dtype=np.int64), half_life_days)


def engages(record: Record, weights: EngagementWeights) -> bool:
    """Whether a record is an engagement with a campaign."""
    return bool(record.campaign_id) and record.role == "customer" and weight_of(record.event, record.intent, weights=weights) > 0


def own_ties(ties: CustomerTies) -> tuple[OwnTie, ...]:
    """A customer's ties as one per campaign, by campaign_id."""
    keys = sorted(ties.engaged_with.keys() | ties.shown.keys() | ties.dismissed.keys() | ties.converted.keys())
    nothing = Tally(count=0, weight=0.0, last_at_ms=0)
    found = []
    for key in keys:
        engaged, shown = ties.engaged_with.get(key, nothing), ties.shown.get(key, nothing)
        dismissed, converted = ties.dismissed.get(key, nothing), ties.converted.get(key, nothing)
        found.append(
            OwnTie(
                campaign_id=key,
                count=engaged.count,
                weight=engaged.weight,
                last_at_ms=engaged.last_at_ms,
                shown=shown.count,
                shown_at_ms=shown.times_ms,
                dismissed_at_ms=dismissed.last_at_ms,
                converted_at_ms=converted.last_at_ms,
            )
        )
    return tuple(found)
