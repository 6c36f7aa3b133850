"""Evidence in, ranked recommendations with reasons out: the one function that serving and evaluation both call."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ranking.fusion import Place, Ranked, fuse, ranked
from ranking.reasons import reason
from ranking.rules import next_change_ms, running, settled_ids
from ranking.sources import (
    ENGAGEMENT,
    GRAPH,
    OWN_HISTORY,
    SIMILAR_CUSTOMERS,
    Candidate,
    Trait,
    by_trait,
    engagement,
    graph,
    own_history,
    similar_customers,
)
from stores.evidence import Catalogue, Neighbour, Surroundings
from stores.records import Campaign


class Tuning(Struct, frozen=True, kw_only=True):
    """What ranking can be tuned by. A source without a weight weighs 1."""

    fusion_k: int = 60
    rate_prior_exposures: float = 20.0
    source_weights: dict[str, float] = {}


class Lineup(Struct, frozen=True, kw_only=True):
    """What may be offered to anyone from one moment until `until_ms` (None: for good), made once for many customers.

    `popular` ranks all of `offered` by engagement.
    """

    catalogue: Catalogue
    offered: dict[str, Campaign]
    sharing: dict[Trait, list[str]]
    popular: list[Ranked]
    until_ms: int | None


class Customer(Struct, frozen=True, kw_only=True):
    """What the stores say of one customer. `known` is False for a customer never heard of.

    `vector` is the customer's own, float32, (dimension,), of length 1; None where there is none.
    """

    user_id: str
    known: bool
    vector: NDArray[np.float32] | None = None
    neighbours: Sequence[Neighbour] = ()
    surroundings: Surroundings = Surroundings()


class Recommended(Struct, frozen=True):
    """One recommended campaign: score in [0, 1], higher is better; the reason; and each source's place for it."""

    campaign_id: str
    score: float
    reason: str
    places: tuple[Place, ...]


def lineup(catalogue: Catalogue, *, now_ms: int, tuning: Tuning) -> Lineup:
    """The lineup at `now_ms`: everything about the campaigns that does not depend on who asks."""
    offered = running(catalogue.campaigns, now_ms=now_ms)
    rates = engagement(catalogue.figures, offered, prior_exposures=tuning.rate_prior_exposures)
    return Lineup(
        catalogue=catalogue,
        offered=offered,
        sharing=by_trait(offered),
        popular=ranked(rates, offered),
        until_ms=next_change_ms(catalogue.campaigns.values(), now_ms=now_ms),
    )


def recommend(customer: Customer, lineup: Lineup, *, limit: int, tuning: Tuning) -> list[Recommended]:
    """The best `limit` campaigns for one customer, best first. A customer never heard of gets what is popular.

    Rules go first: what this customer may not be offered is no candidate. Of the campaigns that only their popularity
    speaks for, the `limit` most popular are enough: no other can reach the first `limit` places.
    """
    out = settled_ids(customer.surroundings.own, lineup.offered)
    allowed = {key: campaign for key, campaign in lineup.offered.items() if key not in out} if out else lineup.offered
    rankings = {source: ranked(found, allowed) for source, found in personal(customer, lineup).items()}
    proposed = {each.candidate.campaign_id for found in rankings.values() for each in found}
    popular = [each for each in lineup.popular if each.candidate.campaign_id in allowed]
    rankings[ENGAGEMENT] = popular[:limit] + [each for each in popular[limit:] if each.candidate.campaign_id in proposed]
    weights = tuning.source_weights if customer.known else {}
    campaigns = lineup.catalogue.campaigns
    return [
        Recommended(best.campaign_id, best.score, reason(best.campaign_id, best.places, campaigns, known=customer.known), best.places)
        for best in fuse(rankings, k=tuning.fusion_k, weights=weights)[:limit]
    ]


def personal(customer: Customer, lineup: Lineup) -> dict[str, list[Candidate]]:
    """The candidates of every source that speaks of this customer; none for a customer never heard of."""
    if not customer.known:
        return {}
    around, catalogue = customer.surroundings, lineup.catalogue
    return {
        SIMILAR_CUSTOMERS: similar_customers(customer.neighbours, around.neighbours, user_id=customer.user_id),
        GRAPH: graph(around.co_engaged, around.intents, catalogue.figures),
        OWN_HISTORY: own_history(around.own, catalogue.campaigns, lineup.sharing, len(lineup.offered)),
    }
