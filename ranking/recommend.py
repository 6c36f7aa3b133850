"""Evidence in, ranked recommendations with reasons out: the one function that serving and evaluation both call."""

from collections.abc import Sequence

from msgspec import Struct

from ranking.eligibility import Policy, Standing, allowed, fallbacks, restricted, standing
from ranking.fusion import Place, Ranked, fuse, ranked
from ranking.holdout import held_out
from ranking.reasons import nothing_else, reason
from ranking.rules import next_change_ms, running
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
    """What ranking can be tuned by. A source without a weight weighs 1; `policy` are the rules that hold for all campaigns."""

    fusion_k: int = 60
    rate_prior_exposures: float = 20.0
    source_weights: dict[str, float] = {}
    policy: Policy = Policy()


class Lineup(Struct, frozen=True, kw_only=True):
    """What may be offered to anyone from `now_ms` until `until_ms` (None: for good), made once for many customers.

    `popular` ranks all of `offered` by engagement; `restricted` are those that ask something of a customer. `fallbacks`
    may be offered where nothing of `offered` may, the first of them first.
    """

    catalogue: Catalogue
    offered: dict[str, Campaign]
    fallbacks: dict[str, Campaign]
    restricted: frozenset[str]
    sharing: dict[Trait, list[str]]
    popular: list[Ranked]
    now_ms: int
    until_ms: int | None


class Customer(Struct, frozen=True, kw_only=True):
    """What the stores say of one customer. `known` is False for a customer never heard of."""

    user_id: str
    known: bool
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
    runs = running(catalogue.campaigns, now_ms=now_ms)
    held_back = {key: runs[key] for key in fallbacks(runs)}
    offered = {key: campaign for key, campaign in runs.items() if key not in held_back}
    rates = engagement(catalogue.figures, offered, prior_exposures=tuning.rate_prior_exposures)
    return Lineup(
        catalogue=catalogue,
        offered=offered,
        fallbacks=held_back,
        restricted=restricted(runs),
        sharing=by_trait(offered),
        popular=ranked(rates, offered),
        now_ms=now_ms,
        until_ms=next_change_ms(catalogue.campaigns.values(), now_ms=now_ms),
    )


def recommend(customer: Customer, lineup: Lineup, *, limit: int, tuning: Tuning, who: Standing | None = None) -> list[Recommended]:
    """The best `limit` campaigns for one customer, best first. One never heard of, or held out, gets what is popular.

    Rules go first: what this customer may not be offered is no candidate. `who` is the customer as the rules see them, at
    the lineup's moment unless it is given. Where nothing may be offered, a fallback campaign is. Of the campaigns that only
    their popularity speaks for, the `limit` most popular are enough: no other can reach the first `limit` places.
    """
    who = who or standing(customer.surroundings, now_ms=lineup.now_ms, policy=tuning.policy)
    offered = allowed(lineup.offered, lineup.restricted, who)
    if not offered:
        return fallback(lineup, who)
    personalised = customer.known and not held_out(customer.user_id, tuning.policy)
    rankings = {source: ranked(found, offered) for source, found in personal(customer, lineup).items()} if personalised else {}
    proposed = {each.candidate.campaign_id for found in rankings.values() for each in found}
    popular = [each for each in lineup.popular if each.candidate.campaign_id in offered]
    rankings[ENGAGEMENT] = popular[:limit] + [each for each in popular[limit:] if each.candidate.campaign_id in proposed]
    weights = tuning.source_weights if personalised else {}
    campaigns = lineup.catalogue.campaigns
    return [
        Recommended(best.campaign_id, best.score, reason(best.campaign_id, best.places, campaigns, known=customer.known), best.places)
        for best in fuse(rankings, k=tuning.fusion_k, weights=weights)[:limit]
    ]


def fallback(lineup: Lineup, who: Standing) -> list[Recommended]:
    """The first fallback campaign that this customer may be offered, with a score of 0, for nothing speaks for it; or nothing."""
    named = lineup.catalogue.campaigns
    found = allowed(lineup.fallbacks, lineup.restricted, who)
    return [Recommended(key, 0.0, nothing_else(key, named), ()) for key in found][:1]


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
