"""Where candidates come from: one pure function per source, each giving scored campaigns with the evidence that made them.

A source speaks only of campaigns it has evidence about, each at most once, in no particular order. Scores are
comparable inside one source only, higher is better; fusion looks at their order alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log1p, sqrt

from msgspec import Struct

from stores.evidence import CampaignFigures, CoEngagement, IntentTie, Neighbour, NeighbourTie, OwnTie
from stores.records import Campaign

SIMILAR_CUSTOMERS = "similar_customers"
GRAPH = "graph"
OWN_HISTORY = "own_history"
ENGAGEMENT = "engagement"


class AlikeCustomers(Struct, frozen=True, tag="similar_customers"):
    """`engaged` of the customer's `nearest` most similar customers engaged with the campaign."""

    engaged: int
    nearest: int


class SharedCampaign(Struct, frozen=True, tag="shared_campaign"):
    """`customers` others engaged with the campaign and also with `via`, which this customer engaged with."""

    via: str
    customers: int


class SharedIntent(Struct, frozen=True, tag="shared_intent"):
    """`customers` others who expressed `intent`, as this customer did, engaged with the campaign."""

    intent: str
    customers: int


class OwnEngagement(Struct, frozen=True, tag="own_engagement"):
    """The customer engaged `count` times with campaigns of the same `kind`: this very campaign, its category or its group."""

    kind: str
    value: str
    count: int


class Popularity(Struct, frozen=True, tag="popularity"):
    """`customers` distinct customers engaged with the campaign, which reached `exposed`; `rate` is the smoothed share."""

    customers: int
    exposed: int
    rate: float


Evidence = AlikeCustomers | SharedCampaign | SharedIntent | OwnEngagement | Popularity


class Candidate(Struct, frozen=True):
    """A campaign that one source proposes; `score` is higher for better, with the strongest evidence behind it."""

    campaign_id: str
    score: float
    evidence: Evidence


def similar_customers(neighbours: Sequence[Neighbour], ties: Iterable[NeighbourTie], *, user_id: str) -> list[Candidate]:
    """Engagement of the nearest customers: the sum of similarity x log(1 + weight), over the sum of similarities.

    The logarithm keeps one busy neighbour from outvoting several. The customer's own events never count, and
    neither do customers who are not alike at all (similarity <= 0).
    """
    alike = {near.user_id: near.similarity for near in neighbours if near.similarity > 0 and near.user_id != user_id}
    total = sum(alike.values())
    scores: dict[str, float] = defaultdict(float)
    engaged: dict[str, set[str]] = defaultdict(set)
    for tie in ties:
        if tie.weight > 0 and tie.user_id in alike:
            scores[tie.campaign_id] += alike[tie.user_id] * log1p(tie.weight) / total
            engaged[tie.campaign_id].add(tie.user_id)
    return [Candidate(key, score, AlikeCustomers(len(engaged[key]), len(alike))) for key, score in scores.items()]


def graph(co_engaged: Iterable[CoEngagement], intents: Iterable[IntentTie], figures: Mapping[str, CampaignFigures]) -> list[Candidate]:
    """Co-engagement plus shared intents, each in [0, 1].

    Co-engagement is the mean, over the customer's own campaigns, of the cosine of the two audiences:
    both / sqrt(audience x audience), so that a campaign everybody met is not everybody's companion. An intent's part
    is its share of what the customer expressed x the share of the campaign's audience that expressed it too.
    """
    co_engaged, intents = list(co_engaged), list(intents)
    vias = len({tie.via for tie in co_engaged})
    expressed = sum({tie.intent: tie.expressed for tie in intents}.values())
    parts: dict[str, list[tuple[float, Evidence]]] = defaultdict(list)
    for both in co_engaged:
        size = sqrt(audience(both.via, figures, both.customers) * audience(both.campaign_id, figures, both.customers))
        parts[both.campaign_id].append((both.customers / size / vias, SharedCampaign(both.via, both.customers)))
    for tie in intents:
        share = tie.expressed / expressed if expressed else 0.0
        size = audience(tie.campaign_id, figures, tie.customers)
        parts[tie.campaign_id].append((share * tie.customers / size, SharedIntent(tie.intent, tie.customers)))
    return [strongest(key, found) for key, found in parts.items()]


def audience(campaign_id: str, figures: Mapping[str, CampaignFigures], at_least: int) -> int:
    """How many customers engaged with the campaign: never fewer than are seen in hand, nor than 1."""
    known = figures[campaign_id].customers if campaign_id in figures else 0
    return max(known, at_least, 1)


def strongest(campaign_id: str, parts: Sequence[tuple[float, Evidence]]) -> Candidate:
    """The sum of a campaign's parts, told by the largest of them (the first in its fields' order among equals)."""
    _, evidence = max(parts, key=lambda part: (part[0], repr(part[1])))
    return Candidate(campaign_id, sum(sorted(score for score, _ in parts)), evidence)


Trait = tuple[str, str]
"""Something that campaigns have in common: its kind (campaign, category or group) and its value."""


def traits(campaign: Campaign) -> list[Trait]:
    """What others may share with a campaign, narrowest first: the campaign itself, its category, its group."""
    held = (("campaign", campaign.campaign_id), ("category", campaign.category), ("group", campaign.group))
    return [(kind, value) for kind, value in held if value]


def by_trait(campaigns: Mapping[str, Campaign]) -> dict[Trait, list[str]]:
    """Which of the campaigns have a trait, for every trait that one of them has."""
    found: dict[Trait, list[str]] = defaultdict(list)
    for key, campaign in campaigns.items():
        for trait in traits(campaign):
            found[trait].append(key)
    return dict(found)


def own_history(
    own: Iterable[OwnTie], campaigns: Mapping[str, Campaign], sharing: Mapping[Trait, Sequence[str]], offered: int
) -> list[Candidate]:
    """The customer's affinities: for each trait, the share of their engagement weight that went to it x its rarity, added up.

    `sharing` says which of the `offered` campaigns have a trait; rarity is the share of them that do not, so that a
    category everything is in says nothing. `campaigns` are all those that the customer may ever have met.
    """
    met = [tie for tie in own if tie.weight > 0 and tie.campaign_id in campaigns]
    total = sum(tie.weight for tie in met)
    spent: dict[Trait, float] = defaultdict(float)
    counts: dict[Trait, int] = defaultdict(int)
    for tie in met:
        for trait in traits(campaigns[tie.campaign_id]):
            spent[trait] += tie.weight / total
            counts[trait] += tie.count
    parts: dict[str, list[tuple[float, Evidence]]] = defaultdict(list)
    for trait, share in spent.items():
        holders = sharing.get(trait, ())
        rarity = 1 - len(holders) / offered if offered > 1 else 1.0
        for key in holders if rarity > 0 else ():
            parts[key].append((share * rarity, OwnEngagement(*trait, counts[trait])))
    return [strongest(key, found) for key, found in parts.items()]


def engagement(figures: Mapping[str, CampaignFigures], campaign_ids: Iterable[str], *, prior_exposures: float) -> list[Candidate]:
    """Smoothed engagement rates: (customers + prior x mean) / (exposed + prior), in [0, 1], `mean` over all figures.

    Few exposures pull a rate towards the mean (empirical Bayes). Engaged customers were evidently exposed, so exposed
    is at least customers. A campaign without any exposure data is judged as if it had reached as many as the widest
    campaign did: where nothing is ever recorded as shown, that is plain popularity.
    """
    reach = max((max(each.exposed, each.customers) for each in figures.values()), default=0)
    exposed = {key: max(each.exposed, each.customers) if each.exposed else reach for key, each in figures.items()}
    total = sum(exposed.values())
    mean = sum(each.customers for each in figures.values()) / total if total else 0.0
    found: list[Candidate] = []
    for key in campaign_ids:
        each = figures.get(key) or CampaignFigures(campaign_id=key)
        rate = (each.customers + prior_exposures * mean) / (exposed.get(key, reach) + prior_exposures)
        found.append(Candidate(key, rate, Popularity(each.customers, each.exposed, round(rate, 6))))
    return found
