"""The marketer's rules about a campaign, before any ranking: whether it runs at a moment, and whether a customer is done with it.

What is asked of the customer beyond that is `eligibility`'s.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from ranking.hours import is_open, next_edge_ms
from stores.evidence import OwnTie
from stores.records import Campaign


class Rule(StrEnum):
    """What keeps a campaign out."""

    PAUSED = "paused"
    ENDED = "ended"
    NOT_STARTED = "not_started"
    OUTSIDE_HOURS = "outside_hours"
    DISMISSED = "dismissed"
    CONVERTED = "converted"
    SUPPRESSED = "suppressed"
    NO_CONSENT = "no_consent"
    NOT_IN_AUDIENCE = "not_in_audience"
    CAP_REACHED = "cap_reached"
    OVERALL_CAP_REACHED = "overall_cap_reached"
    FILTERED = "filtered"


class Exclusion(Struct, frozen=True):
    """Why a campaign is out: the moment that decided it, and that at which it ends by itself, in epoch ms, where there are such.

    `what` is the channel without consent, what the audience asks for, or the parameter that filtered the campaign out; of
    a cap, `seen` of `allowed` impressions were had.
    """

    rule: Rule
    at_ms: int | None = None
    until_ms: int | None = None
    what: str | None = None
    seen: int | None = None
    allowed: int | None = None


def not_running(campaign: Campaign, *, now_ms: int) -> Exclusion | None:
    """Why nobody may be offered the campaign: it runs while its status is active, starts_at <= now < ends_at, in its hours."""
    starts, ends = campaign.starts_at_ms, campaign.ends_at_ms
    if campaign.status == "paused":
        return Exclusion(Rule.PAUSED)
    if campaign.status == "ended" or (ends is not None and now_ms >= ends):
        return Exclusion(Rule.ENDED, ends)
    if starts is not None and now_ms < starts:
        return Exclusion(Rule.NOT_STARTED, starts)
    hours = campaign.rules.hours
    if hours and not is_open(hours, now_ms=now_ms):
        return Exclusion(Rule.OUTSIDE_HOURS, until_ms=next_edge_ms(hours, now_ms=now_ms))
    return None


def settled(campaign: Campaign, own: OwnTie) -> Exclusion | None:
    """Why this customer may not be offered the campaign again: dismissed is for good; converted is too, unless it is repeatable."""
    if own.dismissed_at_ms:
        return Exclusion(Rule.DISMISSED, own.dismissed_at_ms)
    if own.converted_at_ms and not campaign.repeatable:
        return Exclusion(Rule.CONVERTED, own.converted_at_ms)
    return None


def running(campaigns: Mapping[str, Campaign], *, now_ms: int) -> dict[str, Campaign]:
    """The campaigns that may be offered to a customer of whom nothing speaks against it, by campaign_id."""
    return {key: campaign for key, campaign in campaigns.items() if not_running(campaign, now_ms=now_ms) is None}


def next_change_ms(campaigns: Iterable[Campaign], *, now_ms: int) -> int | None:
    """The next moment after `now_ms` at which any campaign starts, ends, opens or closes; None: nothing changes by itself."""
    return min((moment for campaign in campaigns for moment in edges_ms(campaign, now_ms=now_ms)), default=None)


def edges_ms(campaign: Campaign, *, now_ms: int) -> Iterator[int]:
    """The moments after `now_ms` at which the campaign may begin or cease to run by itself."""
    if campaign.status != "active" or (campaign.ends_at_ms is not None and campaign.ends_at_ms <= now_ms):
        return
    hours = campaign.rules.hours
    moments = (campaign.starts_at_ms, campaign.ends_at_ms, next_edge_ms(hours, now_ms=now_ms) if hours else None)
    yield from (moment for moment in moments if moment is not None and moment > now_ms)
