"""Several sources' candidates as one ranking: weighted reciprocal rank fusion.

Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods" (SIGIR 2009).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from ranking.sources import Candidate, Evidence
from stores.records import Campaign

DECIMALS = 6
NO_WEIGHTS: Mapping[str, float] = {}


class Ranked(Struct, frozen=True):
    """A candidate and its rank in its source, from 1."""

    rank: int
    candidate: Candidate


class Place(Struct, frozen=True, kw_only=True):
    """Where one source put a campaign: its rank and score there, and what that adds to the fused score."""

    source: str
    rank: int
    score: float
    contribution: float
    evidence: Evidence


class Fused(Struct, frozen=True):
    """A campaign's fused score in [0, 1], higher is better, and its places, largest contribution first."""

    campaign_id: str
    score: float
    places: tuple[Place, ...]


def ranked(found: Iterable[Candidate], campaigns: Mapping[str, Campaign]) -> list[Ranked]:
    """Those of the candidates that are among `campaigns`, best first, whatever order they came in.

    The higher priority wins between equal scores; equal in both share a rank and stand in order of campaign_id.
    """

    def standing(candidate: Candidate) -> tuple[float, int]:
        return -candidate.score, -campaigns[candidate.campaign_id].priority

    placed: list[Ranked] = []
    last = None
    offered = [each for each in found if each.campaign_id in campaigns]
    for position, candidate in enumerate(sorted(offered, key=lambda each: (*standing(each), each.campaign_id)), start=1):
        rank = placed[-1].rank if placed and standing(candidate) == last else position
        placed.append(Ranked(rank, candidate))
        last = standing(candidate)
    return placed


def fuse(rankings: Mapping[str, Sequence[Ranked]], *, k: int, weights: Mapping[str, float] = NO_WEIGHTS) -> list[Fused]:
    """Sum over sources of weight / (k + rank), divided by the most that could be had: 1.0 is first in every source.

    A source that ranks nothing is left out of the sum and of the most; a source without a weight weighs 1. The order
    is total: score downwards, then campaign_id.
    """
    present = {source: found for source, found in sorted(rankings.items()) if found and weights.get(source, 1.0) > 0}
    most = sum(weights.get(source, 1.0) / (k + 1) for source in present)
    places: dict[str, list[Place]] = defaultdict(list)
    for source, found in present.items():
        for each in found:
            part = weights.get(source, 1.0) / (k + each.rank) / most
            one = each.candidate
            places[one.campaign_id].append(Place(source=source, rank=each.rank, score=one.score, contribution=part, evidence=one.evidence))
    fused = [Fused(key, fused_score(held), tuple(sorted(held, key=largest_first))) for key, held in places.items()]
    return sorted(fused, key=lambda each: (-each.score, each.campaign_id))


def fused_score(held: Iterable[Place]) -> float:
    """The sum of the contributions, rounded so that equal sums are equal whatever the arithmetic did on the way."""
    return min(1.0, round(sum(place.contribution for place in held), DECIMALS))


def largest_first(place: Place) -> tuple[float, str]:
    return -place.contribution, place.source
