"""Variety among the first places: maximal marginal relevance.

Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries" (SIGIR 1998).
"""

from collections.abc import Sequence

from ranking.fusion import Fused
from ranking.sources import CampaignTexts
from stores.records import Campaign

POOL = 5
"""How many times as many campaigns as are wanted are looked at."""


def pool(limit: int, diversity: float) -> int:
    """How many of the best campaigns are looked at for `limit` places."""
    return limit if diversity <= 0 else POOL * limit


def diversified(
    found: Sequence[Fused], campaigns: dict[str, Campaign], texts: CampaignTexts, *, limit: int, diversity: float
) -> list[Fused]:
    """The best `limit`, each next one by (1 - diversity) x score - diversity x its likeness to the nearest one before it.

    Scores are taken over the best one's. `diversity` in [0, 1); 0 keeps the order. Scores stay what they were, so that the order
    is that of the list and no longer that of the scores.
    """
    if diversity <= 0 or not found:
        return list(found[:limit])
    left, chosen = list(found[: pool(limit, diversity)]), list[Fused]()
    most = max(left[0].score, 1e-9)
    nearest = dict.fromkeys((each.campaign_id for each in left), 0.0)
    while left and len(chosen) < limit:
        best = max(left, key=lambda each: ((1 - diversity) * each.score / most - diversity * nearest[each.campaign_id], -left.index(each)))
        left.remove(best)
        chosen.append(best)
        for each in left:
            near = likeness(campaigns[best.campaign_id], campaigns[each.campaign_id], texts)
            nearest[each.campaign_id] = max(nearest[each.campaign_id], near)
    return chosen


def likeness(one: Campaign, other: Campaign, texts: CampaignTexts) -> float:
    """How alike two campaigns are, in [0, 1]: the mean of same category, same group and, where it is known, the cosine of their texts."""
    parts = [float(bool(one.category) and one.category == other.category), float(bool(one.group) and one.group == other.group)]
    if one.campaign_id in texts.rows and other.campaign_id in texts.rows:
        cosine = float(texts.matrix[texts.rows[one.campaign_id]] @ texts.matrix[texts.rows[other.campaign_id]])
        parts.append(min(1.0, max(0.0, cosine)))
    return sum(parts) / len(parts)
