"""Where candidates come from: one pure function per source, each giving scored campaigns with the evidence that made them.

A source speaks only of campaigns it has evidence about, each at most once, in no particular order. Scores are
comparable inside one source only, higher is better; fusion looks at their order alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log1p, sqrt

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stores.evidence import CampaignFigures, CoEngagement, IntentTie, Neighbour, NeighbourTie

Vector = NDArray[np.float32]
NEAREST_TEXTS = 200

SIMILAR_CUSTOMERS = "similar_customers"
SIMILAR_CAMPAIGNS = "similar_campaigns"
GRAPH = "graph"
OWN_HISTORY = "own_history"
ENGAGEMENT = "engagement"


class AlikeCustomers(Struct, frozen=True, gc=False, tag="similar_customers"):
    """`engaged` of the customer's `nearest` most similar customers engaged with the campaign."""

    engaged: int
    nearest: int


class CloseText(Struct, frozen=True, gc=False, tag="close_text"):
    """The campaign's own text is as near as `similarity`, a cosine, to what the customer talks about."""

    similarity: float


class SharedCampaign(Struct, frozen=True, gc=False, tag="shared_campaign"):
    """`customers` others engaged with the campaign and also with `via`, which this customer engaged with."""

    via: str
    customers: int


class SharedIntent(Struct, frozen=True, gc=False, tag="shared_intent"):
    """`customers` others who expressed `intent`, as this customer did, engaged with the campaign."""

    intent: str
    customers: int


class OwnEngagement(Struct, frozen=True, gc=False, tag="own_engagement"):
    """The customer engaged `count` times with campaigns of the same `kind`: this very campaign, its category or its group."""

    kind: str
    value: str
    count: int


class OwnWords(Struct, frozen=True, gc=False, tag="own_words"):
    """The customer said `term`, a word or a phrase that the campaign's text has too, in `count` messages."""

    term: str
    count: int


class OwnIntent(Struct, frozen=True, gc=False, tag="own_intent"):
    """The customer expressed `intent`, which is the campaign's category, `count` times."""

    intent: str
    count: int


class OwnChannel(Struct, frozen=True, gc=False, tag="own_channel"):
    """The customer engaged `count` times by `channel`, which is one of the campaign's."""

    channel: str
    count: int


class OwnTalk(Struct, frozen=True, gc=False, tag="own_talk"):
    """The customer has just said `word`, and several customers who did responded to the campaign in the same conversation."""

    word: str


class Popularity(Struct, frozen=True, gc=False, tag="popularity"):
    """`customers` distinct customers engaged with the campaign, which reached `exposed`; `rate` is the smoothed share."""

    customers: int
    exposed: int
    rate: float


Evidence = (
    AlikeCustomers | CloseText | SharedCampaign | SharedIntent | OwnEngagement | OwnWords | OwnIntent | OwnChannel | OwnTalk | Popularity
)

Signals = Mapping[str, float]
NO_SIGNALS: Signals = {}


class Candidate(Struct, frozen=True, gc=False):
    """A campaign that one source proposes; `score` is higher for better, with the strongest evidence behind it.

    `signals` are the parts that a learned fusion weighs one by one, by name; a signal that is not there is 0.
    """

    campaign_id: str
    score: float
    evidence: Evidence
    signals: Signals = NO_SIGNALS


class CampaignTexts(Struct, frozen=True):
    """The vectors of campaigns' own texts: row n of `matrix`, float32, (n, dimension), of length 1, is that of `ids[n]`."""

    ids: list[str]
    matrix: Vector
    rows: dict[str, int]


def campaign_texts(vectors: Mapping[str, Vector], campaign_ids: Iterable[str]) -> CampaignTexts:
    """Those of these campaigns whose vector is known, in order of campaign_id."""
    ids = sorted(key for key in campaign_ids if key in vectors)
    matrix = np.stack([vectors[key] for key in ids]) if ids else np.zeros((0, 0), np.float32)
    return CampaignTexts(ids, matrix, {key: row for row, key in enumerate(ids)})


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
    return [
        Candidate(key, score, AlikeCustomers(len(engaged[key]), len(alike)), {"score": sqrt(score), "engaged": log1p(len(engaged[key]))})
        for key, score in scores.items()
    ]


def similar_campaigns(vector: Vector | None, texts: CampaignTexts) -> list[Candidate]:
    """Campaigns whose own text is near to what the customer talks about: the cosine of the two vectors, in (0, 1]; the nearest 200."""
    if vector is None or not texts.ids or texts.matrix.shape[1] != len(vector):
        return []
    cosines = texts.matrix @ vector
    nearest = np.argpartition(-cosines, NEAREST_TEXTS - 1)[:NEAREST_TEXTS] if len(cosines) > NEAREST_TEXTS else np.arange(len(cosines))
    found = zip((texts.ids[row] for row in nearest.tolist()), cosines[nearest].tolist(), strict=True)
    near = [(key, round(min(1.0, cosine), 6)) for key, cosine in found]
    return [Candidate(key, cosine, CloseText(cosine), {"score": cosine}) for key, cosine in near if cosine > 0]


def graph(
    co_engaged: Iterable[CoEngagement], intents: Iterable[IntentTie], expressed: Mapping[str, int], figures: Mapping[str, CampaignFigures]
) -> list[Candidate]:
    """Co-engagement plus shared intents, each in [0, 1]. `expressed` says how often the customer expressed each intent.

    Co-engagement is the mean, over the customer's own campaigns, of the cosine of the two audiences:
    both / sqrt(audience x audience), so that a campaign everybody met is not everybody's companion. An intent's part
    is its share of what the customer expressed x the share of the campaign's audience that expressed it too.
    """
    co_engaged, intents = list(co_engaged), list(intents)
    vias = len({tie.via for tie in co_engaged})
    shares = shares_of(expressed)
    met = {tie.campaign_id for tie in co_engaged} | {tie.campaign_id for tie in intents} | {tie.via for tie in co_engaged}
    reach = audiences(met, figures)
    by_campaign: dict[str, list[Path]] = defaultdict(list)
    by_intent: dict[str, list[Path]] = defaultdict(list)
    for both in co_engaged:
        via, n = both.via, both.customers
        size = sqrt(max(reach[via], n) * max(reach[both.campaign_id], n))
        by_campaign[both.campaign_id].append((n / size / vias, via, n))
    for tie in intents:
        if share := shares.get(tie.intent):
            n = tie.customers
            by_intent[tie.campaign_id].append((share * n / max(reach[tie.campaign_id], n), tie.intent, n))
    return [reached(key, by_campaign.get(key, ()), by_intent.get(key, ())) for key in {**by_campaign, **by_intent}]


def shares_of(expressed: Mapping[str, int]) -> dict[str, float]:
    """Of all times that a customer expressed an intent, the share of each, in [0, 1]."""
    total = sum(expressed.values())
    return {intent: count / total if total else 0.0 for intent, count in expressed.items()}


Path = tuple[float, str, int]
"""A way through the graph to a campaign: its score, the campaign or intent that it leads by, and how many customers it is made of."""


def reached(campaign_id: str, by_campaign: Sequence[Path], by_intent: Sequence[Path]) -> Candidate:
    """A campaign that paths lead to. Signals: the two parts of the score, and how many of the customer's own campaigns lead here."""
    campaigns, intents = sorted([score for score, _, _ in by_campaign]), sorted([score for score, _, _ in by_intent])
    signals = {"campaigns": sqrt(sum(campaigns)), "intents": sqrt(sum(intents)), "paths": log1p(len(campaigns))}
    most = max(campaigns[-1:] + intents[-1:])
    told: list[Evidence] = [SharedCampaign(via, n) for score, via, n in by_campaign if score == most]
    told += [SharedIntent(intent, n) for score, intent, n in by_intent if score == most]
    return Candidate(campaign_id, sum(sorted(campaigns + intents)), last(told), signals)


def audiences(campaign_ids: Iterable[str], figures: Mapping[str, CampaignFigures]) -> dict[str, int]:
    """How many customers engaged with each campaign, at least 1. The figures may lag behind what is seen in hand."""
    return {key: max(figures[key].customers, 1) if key in figures else 1 for key in campaign_ids}


def strongest(parts: Sequence[tuple[float, Evidence]]) -> Evidence:
    """The evidence of the largest part."""
    if len(parts) == 1:
        return parts[0][1]
    most = max([score for score, _ in parts])
    return last([evidence for score, evidence in parts if score == most])


def last(told: Sequence[Evidence]) -> Evidence:
    """The one that is told of several that count the same: of the customer's own engagements the narrowest, else the last by its fields."""
    return max(told, key=lambda each: (narrowness(each), repr(each))) if len(told) > 1 else told[0]


def narrowness(evidence: Evidence) -> int:
    """How near a campaign it is that the customer engaged with: 2 for this very one, 1 for its category, 0 for anything else."""
    return {"campaign": 2, "category": 1}.get(evidence.kind, 0) if isinstance(evidence, OwnEngagement) else 0
