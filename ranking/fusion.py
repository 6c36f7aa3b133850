"""Several sources' candidates as one ranking: weighted reciprocal rank fusion.

Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods" (SIGIR 2009).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan

from msgspec import Struct

from ranking.sources import Candidate, Evidence
from stores.records import Campaign

DECIMALS = 6
NO_WEIGHTS: Mapping[str, float] = {}


class Ranked(Struct, frozen=True, gc=False):
    """A candidate and its rank in its source, from 1."""

    rank: int
    candidate: Candidate


Part = tuple[float, str, Ranked]
"""What one source's place adds to a campaign's sum, the source, and the place."""
Parts = dict[str, list[Part]]


class Place(Struct, frozen=True, kw_only=True, gc=False):
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
    standings = sorted((-each.score, -campaigns[key].priority, key, each) for each in found if (key := each.campaign_id) in campaigns)
    placed: list[Ranked] = []
    rank, last = 0, (nan, 0)
    for position, (below, lower, _, candidate) in enumerate(standings, start=1):
        if (below, lower) != last:
            rank, last = position, (below, lower)
        placed.append(Ranked(rank, candidate))
    return placed


def fuse(
    rankings: Mapping[str, Sequence[Ranked]], *, k: int, weights: Mapping[str, float] = NO_WEIGHTS, most: int | None = None
) -> list[Fused]:
    """Sum over sources of weight / (k + rank), divided by the most that could be had: 1.0 is first in every source.

    A source that ranks nothing is left out of the sum and of the most; a source without a weight weighs 1. The order
    is total: score downwards, then campaign_id. With `most`, the best so many.
    """
    present = {source: found for source, found in sorted(rankings.items()) if found and weights.get(source, 1.0) > 0}
    ceiling = sum(weights.get(source, 1.0) / (k + 1) for source in present)
    parts: Parts = defaultdict(list)
    for source, found in present.items():
        weight = weights.get(source, 1.0)
        for each in found:
            parts[each.candidate.campaign_id].append((weight / (k + each.rank) / ceiling, source, each))
    return best(parts, fused_score, most=most)


def best(parts: Parts, score: Callable[[Iterable[float]], float], *, most: int | None) -> list[Fused]:
    """The best `most` campaigns, or all, by what their parts make together; equal ones in order of campaign_id."""
    scored = sorted((-score([part for part, _, _ in held]), key) for key, held in parts.items())
    return [Fused(key, -below, places(parts[key])) for below, key in scored[:most]]


def places(held: Iterable[Part]) -> tuple[Place, ...]:
    """The places that parts came from, the largest part first, then by source."""
    return tuple(
        Place(source=source, rank=each.rank, score=each.candidate.score, contribution=part, evidence=each.candidate.evidence)
        for part, source, each in sorted(held, key=lambda part: (-part[0], part[1]))
    )


def fused_score(parts: Iterable[float]) -> float:
    """The sum of the contributions, rounded so that equal sums are equal whatever the arithmetic did on the way."""
    return min(1.0, round(sum(parts), DECIMALS))
