"""How sources' candidates become one score: reciprocal rank fusion, or a linear model that was fitted on past outcomes."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import exp
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ranking.conversations import NO_LEADS, Leads
from ranking.fusion import DECIMALS, Fused, Parts, Ranked, best, fuse
from ranking.sources import ENGAGEMENT

RANK_K = 60


class Comparison(Struct, frozen=True, kw_only=True):
    """How one way of ranking did on the held-out last period: mean NDCG@10, and by how much the model beat it, with a 95 % interval."""

    ndcg10: float
    gain: float
    low: float
    high: float


class RankingModel(Struct, frozen=True, kw_only=True):
    """Weights of the features, named "source.signal", and what they came from.

    A feature of a campaign that its source does not speak of is 0. `scales` are the features' standard deviations in
    training: weight x scale tells how much a feature matters. `centre` is what is taken off the sum before it becomes a
    score. `usual` says of phrases of campaigns' names how much of all that customers say they make up, `leads` which words lead to
    which campaigns, `beyond` how much likelier a campaign was chosen in the past than its signals tell. `kind` "rrf" uses no
    weights: sources are fused by reciprocal rank. `objective` is what the weights were fitted to; `why` says in words why this
    kind was chosen.
    """

    kind: Literal["rrf", "linear"] = "rrf"
    weights: dict[str, float] = {}
    scales: dict[str, float] = {}
    centre: float = 0.0
    usual: dict[str, float] = {}
    leads: Leads = NO_LEADS
    beyond: dict[str, float] = {}
    objective: str = ""
    cases: int = 0
    positives: int = 0
    trained_before_ms: int = 0
    held_out: int = 0
    compared: dict[str, Comparison] = {}
    why: str = "reciprocal rank fusion: nothing was fitted"
    version: str = "rrf"

    def versioned(self) -> "RankingModel":
        """The model with the digest of what decides its answers as its version: equal version, equal ranking."""
        if self.kind == "rrf":
            return replace(self, version="rrf")
        leads = [(word, sorted(places.items())) for word, places in sorted(self.leads.items())]
        weights, usual, beyond = (sorted(each.items()) for each in (self.weights, self.usual, self.beyond))
        content = msgspec.json.encode([self.kind, weights, self.centre, usual, leads, beyond])
        return replace(self, version=hashlib.blake2b(content, digest_size=8).hexdigest())


RRF = RankingModel()


def features_of(source: str, ranked: Ranked) -> Iterator[tuple[str, float]]:
    """A candidate's features by name: its signals, that its source speaks of it, and its reciprocal rank there, in (0, 1]."""
    for name, value in ranked.candidate.signals.items():
        yield f"{source}.{name}", value
    yield f"{source}.present", 1.0
    yield f"{source}.rank", reciprocal(ranked.rank)


def reciprocal(rank: int) -> float:
    return (RANK_K + 1) / (RANK_K + rank)


def weights_of(source: str, model: RankingModel) -> dict[str, float]:
    """The weights of one source's features, by the names that they have there."""
    return {name.removeprefix(f"{source}."): weight for name, weight in model.weights.items() if name.startswith(f"{source}.")}


def contribution(ranked: Ranked, weights: Mapping[str, float]) -> float:
    """What one source's place adds to a campaign's sum under a linear model: its features x these `weights` of that source's."""
    total = 0.0
    for name, value in ranked.candidate.signals.items():
        total += weights.get(name, 0.0) * value
    return total + weights.get("present", 0.0) + weights.get("rank", 0.0) * reciprocal(ranked.rank)


def contributed(source: str, ranked: Ranked, weights: Mapping[str, float], model: RankingModel) -> float:
    """The `contribution` of one source's place; engagement's has what the campaign was chosen for beyond its signals, too."""
    beyond = model.beyond.get(ranked.candidate.campaign_id, 0.0) if source == ENGAGEMENT else 0.0
    return contribution(ranked, weights) + beyond


def linear(rankings: Mapping[str, Sequence[Ranked]], model: RankingModel, *, most: int | None = None) -> list[Fused]:
    """The sum of all features x weights as a score in [0, 1]: 1 / (1 + exp(centre - sum)); contributions are parts of the sum.

    The order is total: score downwards, then campaign_id. With `most`, the best so many.
    """
    parts: Parts = defaultdict(list)
    for source, found in rankings.items():
        weights = weights_of(source, model)
        for each in found:
            parts[each.candidate.campaign_id].append((round(contributed(source, each, weights, model), DECIMALS), source, each))
    return best(parts, partial(squashed, centre=model.centre), most=most)


def squashed(parts: Iterable[float], centre: float) -> float:
    """The logistic function of the sum of contributions, rounded so that equal sums are equal whatever the arithmetic did on the way."""
    total = sum(sorted(parts)) - centre
    return round(1 / (1 + exp(-total)) if total > -700 else 0.0, DECIMALS)


def fused(
    rankings: Mapping[str, Sequence[Ranked]], model: RankingModel, *, k: int, weights: Mapping[str, float], most: int | None = None
) -> list[Fused]:
    """The rankings as one, the model's way: the best `most`, or all. `k` and the sources' `weights` are those of reciprocal rank fusion."""
    return linear(rankings, model, most=most) if model.kind == "linear" else fuse(rankings, k=k, weights=weights, most=most)
