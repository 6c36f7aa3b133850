"""Evidence in, ranked recommendations with reasons out: the one function that serving and evaluation both call."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace
from numpy.typing import NDArray

from ranking.conversations import led_to, saying_now
from ranking.diversity import diversified, pool
from ranking.eligibility import Policy, Standing, allowed, fallbacks, restricted, standing
from ranking.fusion import Fused, Place, Ranked, ranked
from ranking.holdout import held_out
from ranking.model import RRF, RankingModel, contributed, fused, weights_of
from ranking.own_history import Trait, by_trait, own_history
from ranking.popularity import Lately, engagement, kind_rates, lately
from ranking.reasons import nothing_else, reason
from ranking.rules import next_change_ms, running
from ranking.sources import (
    ENGAGEMENT,
    GRAPH,
    OWN_HISTORY,
    SIMILAR_CAMPAIGNS,
    SIMILAR_CUSTOMERS,
    CampaignTexts,
    Candidate,
    campaign_texts,
    graph,
    similar_campaigns,
    similar_customers,
)
from ranking.words import WordIndex, word_index
from stores.evidence import Catalogue, Neighbour, Surroundings
from stores.records import Campaign

SOURCE_WEIGHTS = {SIMILAR_CUSTOMERS: 0.5, SIMILAR_CAMPAIGNS: 0.5, GRAPH: 0.5}
"""Under reciprocal rank fusion each of the three sources that go by likeness weighs half as much as own history or engagement."""


class Tuning(Struct, frozen=True, kw_only=True):
    """What ranking can be tuned by. `diversity` 0 leaves the order as it is scored.

    `source_weights` are those of reciprocal rank fusion; a source without one weighs 1. `policy` are the rules that hold for all campaigns.
    """

    fusion_k: int = 60
    rate_prior_exposures: float = 20.0
    engagement_half_life_days: float = 14.0
    source_weights: dict[str, float] = field(default_factory=SOURCE_WEIGHTS.copy)
    diversity: float = 0.0
    policy: Policy = Policy()


class Offering(Struct, frozen=True, kw_only=True):
    """What is the same for everybody while the same campaigns run, whatever happens to their figures."""

    campaigns: dict[str, Campaign]
    sharing: dict[Trait, list[str]]
    words: WordIndex
    texts: CampaignTexts


class Lineup(Struct, frozen=True, kw_only=True):
    """What may be offered to anyone from `now_ms` until `until_ms` (None: for good), made once for many customers.

    `recent` is what campaigns did lately. `popular` ranks all of `offered` by engagement; `leaders` are the same in the order
    in which the model scores them where nothing else speaks for a campaign. `restricted` are those that ask something of a
    customer. `fallbacks` may be offered where nothing of `offered` may, the first of them first.
    """

    catalogue: Catalogue
    offering: Offering
    fallbacks: dict[str, Campaign]
    restricted: frozenset[str]
    recent: dict[str, Lately]
    popular: list[Ranked]
    leaders: list[Ranked]
    model: RankingModel
    now_ms: int
    until_ms: int | None

    @property
    def offered(self) -> dict[str, Campaign]:
        return self.offering.campaigns


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


def offering(campaigns: dict[str, Campaign], vectors: Mapping[str, NDArray[np.float32]]) -> Offering:
    """What the campaigns that run have in common, and their words and vectors."""
    return Offering(campaigns=campaigns, sharing=by_trait(campaigns), words=word_index(campaigns), texts=campaign_texts(vectors, campaigns))


def lineup(
    catalogue: Catalogue,
    *,
    now_ms: int,
    tuning: Tuning,
    model: RankingModel = RRF,
    before: Lineup | None = None,
    also: Iterable[str] = (),
) -> Lineup:
    """The lineup at `now_ms`: everything about the campaigns that does not depend on who asks.

    Recent figures are counted back from the newest record, or from `now_ms` where that record is dated ahead: a wrong clock
    somewhere would make everything else old. What the lineup `before` made of the same campaigns is taken over. `also` are
    campaigns that are offered whether they run or not: a case may name them.
    """
    runs = running(catalogue.campaigns, now_ms=now_ms)
    for key in also:
        runs[key] = replace(catalogue.campaigns[key], status="active", starts_at_ms=None, ends_at_ms=None)
    held_back = {key: runs[key] for key in fallbacks(runs)}
    offered = {key: campaign for key, campaign in runs.items() if key not in held_back}
    same = before is not None and before.offered == offered and before.catalogue.vectors is catalogue.vectors
    latest_ms = min(catalogue.newest_ms, now_ms)
    recent = lately(catalogue.days, newest_ms=latest_ms, half_life_days=tuning.engagement_half_life_days)
    rates = engagement(
        catalogue.figures,
        offered,
        recent,
        prior_exposures=tuning.rate_prior_exposures,
        kinds=kind_rates(catalogue.figures, catalogue.campaigns, prior_exposures=tuning.rate_prior_exposures),
        now_ms=now_ms,
    )
    popular = ranked(rates, offered)
    return Lineup(
        catalogue=catalogue,
        offering=before.offering if before is not None and same else offering(offered, catalogue.vectors),
        fallbacks=held_back,
        restricted=restricted(runs),
        recent=recent,
        popular=popular,
        leaders=leaders(popular, model),
        model=model,
        now_ms=now_ms,
        until_ms=next_change_ms(catalogue.campaigns.values(), now_ms=now_ms),
    )


def leaders(popular: list[Ranked], model: RankingModel) -> list[Ranked]:
    """The campaigns in the order in which their engagement alone would rank them."""
    if model.kind == "rrf":
        return popular
    weights = weights_of(ENGAGEMENT, model)
    return sorted(popular, key=lambda each: (-contributed(ENGAGEMENT, each, weights, model), each.candidate.campaign_id))


def recommend(customer: Customer, lineup: Lineup, *, limit: int, tuning: Tuning, who: Standing | None = None) -> list[Recommended]:
    """The best `limit` campaigns for one customer, best first. One never heard of, or held out, gets what is popular.

    Rules go first: what this customer may not be offered is no candidate. `who` is the customer as the rules see them, at
    the lineup's moment unless it is given. Where nothing may be offered, a fallback campaign is.
    """
    who = who or standing(customer.surroundings, now_ms=lineup.now_ms, policy=tuning.policy)
    offered = allowed(lineup.offered, lineup.restricted, who)
    if not offered:
        return fallback(lineup, who)
    personalised = customer.known and not held_out(customer.user_id, tuning.policy)
    found = rankings(customer, lineup, offered, limit=limit, now_ms=who.now_ms, personalised=personalised)
    campaigns = lineup.catalogue.campaigns
    return [
        Recommended(best.campaign_id, best.score, reason(best.campaign_id, best.places, campaigns, known=customer.known), best.places)
        for best in placed(lineup, found, limit=limit, tuning=tuning)
    ]


def fallback(lineup: Lineup, who: Standing) -> list[Recommended]:
    """The first fallback campaign that this customer may be offered, with a score of 0, for nothing speaks for it; or nothing."""
    named = lineup.catalogue.campaigns
    found = allowed(lineup.fallbacks, lineup.restricted, who)
    return [Recommended(key, 0.0, nothing_else(key, named), ()) for key in found][:1]


def rankings(
    customer: Customer, lineup: Lineup, offered: Mapping[str, Campaign], *, limit: int, now_ms: int, personalised: bool = True
) -> dict[str, list[Ranked]]:
    """Each source's ranking of what is `offered` to this customer, best first; engagement's alone where it is not `personalised`.

    Of the campaigns that only their engagement speaks for, the `limit` that lead by it are enough: no other can reach the
    first `limit` places.
    """
    found = {source: ranked(some, offered) for source, some in personal(customer, lineup, now_ms=now_ms).items()} if personalised else {}
    proposed = {each.candidate.campaign_id for some in found.values() for each in some}
    leading = [each for each in lineup.leaders if each.candidate.campaign_id in offered]
    found[ENGAGEMENT] = leading[:limit] + [each for each in leading[limit:] if each.candidate.campaign_id in proposed]
    return found


def placed(lineup: Lineup, found: Mapping[str, Sequence[Ranked]], *, limit: int, tuning: Tuning) -> list[Fused]:
    """The sources' rankings as the one that is served: fused the way of the lineup's model, then made diverse if that is asked for."""
    weights = tuning.source_weights if found.keys() - {ENGAGEMENT} else {}
    best = fused(found, lineup.model, k=tuning.fusion_k, weights=weights, most=pool(limit, tuning.diversity))
    return diversified(best, lineup.offered, lineup.offering.texts, limit=limit, diversity=tuning.diversity)


def personal(customer: Customer, lineup: Lineup, *, now_ms: int) -> dict[str, list[Candidate]]:
    """The candidates of every source that speaks of this customer; none for a customer never heard of.

    A conversation that is under way at `now_ms` speaks too.
    """
    if not customer.known:
        return {}
    around, catalogue, offering = customer.surroundings, lineup.catalogue, lineup.offering
    return {
        SIMILAR_CUSTOMERS: similar_customers(customer.neighbours, around.neighbours, user_id=customer.user_id),
        SIMILAR_CAMPAIGNS: similar_campaigns(customer.vector, offering.texts),
        GRAPH: graph(around.co_engaged, around.intents, around.expressed, catalogue.figures),
        OWN_HISTORY: own_history(
            around,
            catalogue.campaigns,
            offering.sharing,
            len(offering.campaigns),
            offering.words,
            lineup.model.usual,
            led_to(saying_now(around.words, now_ms=now_ms), lineup.model.leads),
        ),
    }
