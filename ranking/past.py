"""Evidence as of a moment of the past, in memory: what the stores would have held, and the API read from them, at that time.

A `Past` walks forward through the records. It is made of the functions that the assets are made of, so that what is
judged is what is served; nothing from after the moment is in it.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ranking.conversations import Conversations, LeadsNow
from ranking.counted import Counted
from ranking.engagement import most_used, phrases_said, profile_of
from ranking.known import Conditions, Known, Vector, own_ties
from ranking.recommend import Customer
from ranking.refitting import Extent
from ranking.words import campaign_text, terms_of_campaign
from stores.evidence import (
    CAMPAIGNS_EACH,
    FEWEST_SHARED,
    SHARED_CAMPAIGNS,
    Catalogue,
    CoEngagement,
    IntentTie,
    Neighbour,
    NeighbourTie,
    Surroundings,
    WordTie,
)
from stores.records import Campaign, Record

SHARE_DECIMALS = 9
NO_RECORDS: Sequence[Record] = ()


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
        self._places: dict[str, NDArray[np.int64]] = {}
        self._audience: dict[str, dict[str, None]] = defaultdict(dict)
        self._voices: dict[str, dict[str, None]] = defaultdict(dict)
        self._users: list[str] = []
        self._rows: dict[str, int] = {}
        self._matrix: Vector = np.zeros((0, 0), np.float32)
        self._spoke: set[str] = set()
        self._naming = frozenset(phrase for campaign in self.campaigns.values() for phrase in terms_of_campaign(campaign).name)
        self._said: Counter[str] = Counter()
        self._phrases = 0
        self._conversations = Conversations(self.campaigns)

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
        self._conversations.learn(record)
        if record.speaks:
            self._spoke.add(record.user_id)
            phrases = phrases_said(record)
            self._phrases += len(phrases)
            self._said.update(phrases & self._naming)
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

    def usual(self) -> dict[str, float]:
        """How much of all phrases said by anybody so far each phrase of a campaign's name makes up."""
        return {phrase: round(count / self._phrases, SHARE_DECIMALS) for phrase, count in sorted(self._said.items())}

    def leads(self) -> LeadsNow:
        """Which words lead to which campaigns so far; of no use once the moment has moved on."""
        return LeadsNow(self._conversations)

    def mailed(self, group: str) -> set[str]:
        """The customers who were sent the campaigns of a group so far."""
        return self._counted.mailed.get(group, set())

    def extent(self) -> Extent:
        """How much past there is so far."""
        return Extent(records=self._next, outcomes=self._counted.outcomes)

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
            intents=tuple(tie for intent in known.ties.expressed for tie in self._attracted(intent, known)),
            expressed={intent: tally.count for intent, tally in sorted(known.ties.expressed.items())},
            words=tuple(WordTie(word, tally.count, tally.last_at_ms) for word, tally in most_used(known.words).items()),
            channels=dict(sorted(known.channels.items())),
            profile=profile_of(known.statements),
            mailed=tuple(sorted(known.groups)),
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

    def _attracted(self, intent: str, known: Known) -> list[IntentTie]:
        """The campaigns whose customers expressed the intent most, without this customer."""
        user_id = known.ties.user_id
        attracted = self._engaged_by(self._voices.get(intent, {}))
        before = self._known.get(user_id)
        if before and intent in before.ties.expressed:
            attracted[list(self._engaged.get(user_id, {}))] -= 1
        some = np.flatnonzero(attracted > 0)
        kept = some[np.lexsort((some, -attracted[some]))][:CAMPAIGNS_EACH]
        return [IntentTie(intent, self._ids[place], int(attracted[place])) for place in kept]

    def _places_of(self, user_id: str) -> NDArray[np.int64]:
        """Where the campaigns stand that a customer engaged with."""
        engaged = self._engaged[user_id]
        if user_id not in self._places or len(self._places[user_id]) != len(engaged):  # nobody ever engages with fewer
            self._places[user_id] = np.fromiter(engaged, np.int64, len(engaged))
        return self._places[user_id]

    def _engaged_by(self, users: Iterable[str]) -> NDArray[np.int64]:
        """How many of these customers engaged with each campaign, by its place."""
        held = [self._places_of(user) for user in users if user in self._engaged]
        places = np.concatenate(held) if held else np.zeros(0, np.int64)
        return np.bincount(places, minlength=len(self._ids))
