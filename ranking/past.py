"""Evidence as of a moment of the past, in memory: what the stores would have held, and the API read from them, at that time.

A `Past` walks forward through the records. It is made of the functions that the assets are made of, so that what is
judged is what is served; nothing from after the moment is in it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from ranking.engagement import EngagementWeights, most_used, note, note_words, user_vector, weight_of
from ranking.recommend import Customer
from ranking.words import campaign_text
from stores.evidence import (
    CAMPAIGNS_EACH,
    FEWEST_SHARED,
    SHARED_CAMPAIGNS,
    CampaignDay,
    CampaignFigures,
    Catalogue,
    CoEngagement,
    IntentTie,
    Neighbour,
    NeighbourTie,
    OwnTie,
    Surroundings,
    WordTie,
)
from stores.records import Campaign, CustomerTies, Record, Tally, iso

Vector = NDArray[np.float32]
NO_RECORDS: Sequence[Record] = ()


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
        other.vectors, other.spoke_at_ms = list(self.vectors), list(self.spoke_at_ms)
        return other

    def learn(self, record: Record, vector: Vector | None, conditions: Conditions) -> None:
        """Adds one record, with the vector of its text where it has one."""
        note(self.ties, record, weights=conditions.weights)
        note_words(self.words, record)
        if record.event == "mailing" and record.group:
            self.groups.add(record.group)
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


class Counted:
    """What all records so far amount to, campaign by campaign: the figures that the platform keeps in SQL."""

    def __init__(self, campaigns: Mapping[str, Campaign], weights: EngagementWeights) -> None:
        self._weights = weights
        self._in_group: dict[str, list[str]] = defaultdict(list)
        for key, campaign in campaigns.items():
            if campaign.group:
                self._in_group[campaign.group].append(key)
        self._group_of = {key: campaign.group for key, campaign in campaigns.items() if campaign.group}
        self._seen: dict[str, set[str]] = defaultdict(set)
        self.mailed: dict[str, set[str]] = defaultdict(set)
        self._engaged: dict[str, set[str]] = defaultdict(set)
        self._stale: set[str] = set()
        self.figures: dict[str, CampaignFigures] = {}
        self.days: dict[tuple[str, str], CampaignDay] = {}
        self.newest_ms = 0

    def count(self, record: Record) -> None:
        self.newest_ms = max(self.newest_ms, record.timestamp_ms)
        if record.event == "mailing" and record.group:
            self.mailed[record.group].add(record.user_id)
            self._stale.update(self._in_group.get(record.group, ()))
        if not (key := record.campaign_id):
            return
        if record.event == "impression":
            self._seen[key].add(record.user_id)
            self._stale.add(key)
            self._add(key, record, impressions=1)
        elif engages(record, self._weights):
            weight = weight_of(record.event, record.intent, weights=self._weights)
            self._engaged[key].add(record.user_id)
            self._stale.add(key)
            self._add(key, record, weight=weight, **{f"{record.event}s": 1})

    def _add(self, key: str, record: Record, **more: float) -> None:
        day = iso(record.timestamp_ms)[:10]
        today = self.days.get((key, day)) or CampaignDay(campaign_id=key, day=day)
        self.days[key, day] = replace(today, **{name: getattr(today, name) + value for name, value in more.items()})
        if "impressions" not in more:
            total = self.figures.get(key) or CampaignFigures(campaign_id=key)
            grown = {name: getattr(total, name) + value for name, value in more.items()}
            self.figures[key] = replace(total, last_at_ms=max(total.last_at_ms, record.timestamp_ms), **grown)

    def settled(self) -> dict[str, CampaignFigures]:
        """The figures with their distinct customers counted."""
        for key in self._stale:
            exposed = self._seen[key] | self.mailed.get(self._group_of.get(key, ""), set())
            before = self.figures.get(key) or CampaignFigures(campaign_id=key)
            self.figures[key] = replace(before, customers=len(self._engaged[key]), exposed=len(exposed))
        self._stale.clear()
        return dict(self.figures)


class Past:
    """The evidence at one moment; `advance` moves the moment forward.

    `vectors` gives the vector of a text (float32, of length 1); a text that is not in it is treated as never embedded. Costs
    what the records since the last moment cost, and per customer asked about what the customer's surroundings cost.
    """

    def __init__(
        self, records: Iterable[Record], campaigns: Iterable[Campaign], vectors: Mapping[str, Vector], *, conditions: Conditions
    ) -> None:
        self._records = sorted(records, key=lambda record: (record.timestamp_ms, record.message_id))
        self._moments = [record.timestamp_ms for record in self._records]
        self.campaigns = {campaign.campaign_id: campaign for campaign in campaigns}
        self._vectors = vectors
        self._conditions = conditions
        self._next = 0
        self._known: dict[str, Known] = {}
        self._counted = Counted(self.campaigns, conditions.weights)
        texts = {key: vectors.get(campaign_text(campaign)) for key, campaign in self.campaigns.items()}
        self._campaign_vectors = {key: vector for key, vector in texts.items() if vector is not None}
        named = {record.campaign_id for record in self._records if record.campaign_id} | self.campaigns.keys()
        self._ids = sorted(named)
        self._place = {key: place for place, key in enumerate(self._ids)}
        self._engaged: dict[str, dict[int, None]] = defaultdict(dict)  # as sets in order of time
        self._audience: dict[str, dict[str, None]] = defaultdict(dict)
        self._voices: dict[str, dict[str, None]] = defaultdict(dict)
        self._users: list[str] = []
        self._rows: dict[str, int] = {}
        self._matrix: Vector = np.zeros((0, 0), np.float32)
        self._spoke: set[str] = set()

    def advance(self, at_ms: int) -> None:
        """Learns every record from before `at_ms`, and none from that moment on. Moments only go forward."""
        end = bisect_left(self._moments, at_ms)
        for record in self._records[self._next : end]:
            self._learn(record)
        self._next = max(self._next, end)

    def _learn(self, record: Record) -> None:
        known = self._known.setdefault(record.user_id, Known(record.user_id))
        known.learn(record, self._vectors.get(record.message or "") if record.speaks else None, self._conditions)
        self._counted.count(record)
        if record.speaks:
            self._spoke.add(record.user_id)
        if record.campaign_id in known.ties.engaged_with:
            self._engaged[record.user_id][self._place[record.campaign_id]] = None
            self._audience[record.campaign_id][record.user_id] = None
        if record.intent in known.ties.expressed:
            self._voices[record.intent][record.user_id] = None

    def catalogue(self) -> Catalogue:
        """All campaigns with what is counted of them at this moment."""
        return Catalogue(
            campaigns=self.campaigns,
            figures=self._counted.settled(),
            days=tuple(self._counted.days.values()),
            newest_ms=self._counted.newest_ms,
            vectors=self._campaign_vectors,
        )

    def mailed(self, group: str) -> set[str]:
        """The customers who were sent the campaigns of a group so far."""
        return self._counted.mailed.get(group, set())

    def engagements(self, user_id: str) -> int:
        """How many engagements are known of a customer: 0 for one never heard of."""
        known = self._known.get(user_id)
        return sum(tally.count for tally in known.ties.engaged_with.values()) if known else 0

    def customer(self, user_id: str, *, since: Sequence[Record] = NO_RECORDS) -> Customer:
        """What is known of one customer at this moment, and from the records `since` then, which nobody else's evidence has."""
        known = self._known.get(user_id)
        if since:
            known = known.copied() if known else Known(user_id)
            for record in since:
                known.learn(record, self._vectors.get(record.message or "") if record.speaks else None, self._conditions)
        if known is None:
            return Customer(user_id=user_id, known=False)
        vector = known.vector(self._conditions.user_vector_half_life_days)
        neighbours = self._neighbours(user_id, vector) if vector is not None else []
        own = own_ties(known.ties)
        around = Surroundings(
            known=True,
            own=own,
            neighbours=tuple(tie for near in neighbours for tie in self._ties_of(near.user_id)),
            co_engaged=tuple(tie for each in own if each.count for tie in self._co_engaged(user_id, each.campaign_id)),
            intents=tuple(tie for intent, tally in known.ties.expressed.items() for tie in self._attracted(intent, tally.count, known)),
            words=tuple(WordTie(word, tally.count, tally.last_at_ms) for word, tally in most_used(known.words).items()),
            channels=dict(sorted(known.channels.items())),
        )
        return Customer(user_id=user_id, known=True, vector=vector, neighbours=neighbours, surroundings=around)

    def _neighbours(self, user_id: str, vector: Vector) -> list[Neighbour]:
        """The most similar other customers, the most alike first."""
        self._refresh_matrix()
        if not self._users:
            return []
        similarities = self._matrix[: len(self._users)] @ vector
        wanted = min(self._conditions.neighbours + 1, len(similarities))
        nearest = np.argpartition(-similarities, wanted - 1)[:wanted]
        found = sorted((-float(similarities[row]), self._users[row]) for row in nearest)
        return [Neighbour(other, -negative) for negative, other in found if other != user_id][: self._conditions.neighbours]

    def _refresh_matrix(self) -> None:
        for user_id in sorted(self._spoke):
            vector = self._known[user_id].vector(self._conditions.user_vector_half_life_days)
            if vector is None:
                continue
            if user_id not in self._rows:
                self._rows[user_id] = len(self._users)
                self._users.append(user_id)
            if (row := self._rows[user_id]) >= len(self._matrix):
                grown = np.zeros((max(64, 2 * (row + 1)), len(vector)), np.float32)
                grown[: len(self._matrix), : self._matrix.shape[1]] = self._matrix
                self._matrix = grown
            self._matrix[row] = vector
        self._spoke.clear()

    def _ties_of(self, user_id: str) -> list[NeighbourTie]:
        ties = self._known[user_id].ties.engaged_with
        strongest = sorted((-tally.weight, key) for key, tally in ties.items())[:CAMPAIGNS_EACH]
        return [NeighbourTie(user_id, key, -negative) for negative, key in strongest]

    def _co_engaged(self, user_id: str, via: str) -> list[CoEngagement]:
        """The campaigns that share the most customers with `via`, without this customer."""
        together = self._engaged_by(self._audience.get(via, {}))
        mine = self._engaged.get(user_id, {})  # a running session is not in it: nobody's figures have that yet
        together[self._place[via]] = 0
        shared = np.flatnonzero(together >= FEWEST_SHARED)
        kept = shared[np.lexsort((shared, -together[shared]))][:SHARED_CAMPAIGNS]
        counts_me = self._place[via] in mine
        others = ((-(int(together[place]) - (counts_me and place in mine)), self._ids[place]) for place in kept)
        return [CoEngagement(key, via, -negative) for negative, key in sorted(others)[:CAMPAIGNS_EACH] if negative < 0]

    def _attracted(self, intent: str, expressed: int, known: Known) -> list[IntentTie]:
        """The campaigns whose customers expressed the intent most, without this customer."""
        user_id = known.ties.user_id
        attracted = self._engaged_by(self._voices.get(intent, {}))
        before = self._known.get(user_id)
        if before and intent in before.ties.expressed:
            attracted[list(self._engaged.get(user_id, {}))] -= 1
        some = np.flatnonzero(attracted > 0)
        kept = some[np.lexsort((some, -attracted[some]))][:CAMPAIGNS_EACH]
        return [IntentTie(intent, self._ids[place], expressed, int(attracted[place])) for place in kept]

    def _engaged_by(self, users: Iterable[str]) -> NDArray[np.int64]:
        """How many of these customers engaged with each campaign, by its place."""
        held = [self._engaged[user] for user in users if user in self._engaged]
        places = np.concatenate([np.fromiter(each, np.int64, len(each)) for each in held]) if held else np.zeros(0, np.int64)
        return np.bincount(places, minlength=len(self._ids))


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
                dismissed_at_ms=dismissed.last_at_ms,
                converted_at_ms=converted.last_at_ms,
            )
        )
    return tuple(found)
