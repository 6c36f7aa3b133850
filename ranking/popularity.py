"""Engagement as a source of candidates: how well campaigns do with everybody, lately, and how sure that is."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import log, log1p, sqrt

from msgspec import Struct

from ranking.sources import Candidate, Popularity
from stores.evidence import CampaignDay, CampaignFigures
from stores.records import DAY_MS, Campaign, day_ms

CERTAINTY = 1.0
"""Standard errors between a rate and its lower bound."""


class Lately(Struct, frozen=True):
    """Decayed sums of one campaign's engagements and impressions, and the share of all of them that each is."""

    engaged: float = 0.0
    engaged_share: float = 1.0
    shown_share: float = 1.0


NOTHING = Lately()


def lately(days: Iterable[CampaignDay], *, newest_ms: int, half_life_days: float) -> dict[str, Lately]:
    """What campaigns did, a day's figures halved every `half_life_days` back from the newest record: time passing changes nothing."""
    today = newest_ms // DAY_MS
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    decays: dict[str, float] = {}
    for each in days:
        if (decay := decays.get(each.day)) is None:
            decay = decays[each.day] = 0.5 ** (max(0, today - day_ms(each.day) // DAY_MS) / half_life_days)
        engaged = each.messages + each.clicks + each.conversions
        held = sums[each.campaign_id]
        held[0] += engaged * decay
        held[1] += engaged
        held[2] += each.impressions * decay
        held[3] += each.impressions
    return {
        key: Lately(recent, recent / engaged if engaged else 1.0, shown / impressions if impressions else 1.0)
        for key, (recent, engaged, shown, impressions) in sums.items()
    }


def engagement(
    figures: Mapping[str, CampaignFigures],
    campaigns: Mapping[str, Campaign],
    recent: Mapping[str, Lately],
    *,
    prior_exposures: float,
    kinds: Mapping[str, float],
    now_ms: int,
) -> list[Candidate]:
    """A lower bound of each campaign's engagement rate, in [0, 1]: rate - one standard error, at least 0.

    rate = (customers + prior x mean) / (exposed + prior), of customers and exposed each times the share of their events
    that is recent; `mean` is that of all figures. Few exposures pull a rate towards the mean (empirical Bayes) and its
    bound down. Engaged customers were evidently exposed, so exposed is at least customers. A campaign without any exposure
    data is judged as if it had reached as many as the widest campaign did: where nothing is ever recorded as shown, that
    is plain popularity.
    """
    reach = max((max(each.exposed, each.customers) for each in figures.values()), default=0)
    engaged = {key: each.customers * recent.get(key, NOTHING).engaged_share for key, each in figures.items()}
    exposed = {
        key: max(each.exposed * recent.get(key, NOTHING).shown_share, engaged[key]) if each.exposed else reach
        for key, each in figures.items()
    }
    total = sum(exposed.values())
    mean = sum(engaged.values()) / total if total else 0.0
    found: list[Candidate] = []
    for key, campaign in campaigns.items():
        each = figures.get(key) or CampaignFigures(campaign_id=key)
        amount = exposed.get(key, reach) + prior_exposures
        rate = (engaged.get(key, 0.0) + prior_exposures * mean) / amount
        low = max(0.0, rate - CERTAINTY * sqrt(rate * (1 - rate) / amount))
        signals = {
            "rate": log(rate + 1e-4),
            "customers": log(each.customers + 0.3),
            "recent": log(recent.get(key, NOTHING).engaged + 0.2),
            "kind": kinds.get(campaign.category or "", 0.0),
            "age": log1p(max(0, now_ms - campaign.starts_at_ms) / DAY_MS) if campaign.starts_at_ms is not None else 0.0,
        }
        found.append(Candidate(key, low, Popularity(each.customers, each.exposed, round(rate, 6)), signals))
    return found


def kind_rates(figures: Mapping[str, CampaignFigures], campaigns: Mapping[str, Campaign], *, prior_exposures: float) -> dict[str, float]:
    """Category → log of the smoothed rate of all its campaigns, running or not, over the rate of everything."""
    engaged: dict[str, int] = defaultdict(int)
    exposed: dict[str, int] = defaultdict(int)
    for key, campaign in campaigns.items():
        if campaign.category and key in figures:
            engaged[campaign.category] += figures[key].customers
            exposed[campaign.category] += max(figures[key].exposed, figures[key].customers)
    total = sum(exposed.values())
    mean = sum(engaged.values()) / total if total else 0.0
    prior = 100 * prior_exposures
    return {kind: log((engaged[kind] + prior * mean + 1e-9) / ((exposed[kind] + prior) * mean + 1e-9)) for kind in engaged}
