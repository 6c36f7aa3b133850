"""The marketer's rules, before any ranking: which campaigns may be offered to a customer at a moment, and why not."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from stores.evidence import OwnTie
from stores.records import Campaign


class Rule(StrEnum):
    """What keeps a campaign out."""

    PAUSED = "paused"
    ENDED = "ended"
    NOT_STARTED = "not_started"
    DISMISSED = "dismissed"
    CONVERTED = "converted"


class Exclusion(Struct, frozen=True):
    """Why a campaign is out, and the moment that decided it in epoch ms, where there is one."""

    rule: Rule
    at_ms: int | None = None


def exclusion(campaign: Campaign, own: OwnTie | None, *, now_ms: int) -> Exclusion | None:
    """The first rule that keeps the campaign from this customer at `now_ms`, or None where it may be offered."""
    return not_running(campaign, now_ms=now_ms) or (settled(campaign, own) if own else None)


def not_running(campaign: Campaign, *, now_ms: int) -> Exclusion | None:
    """Why nobody may be offered the campaign: it runs while its status is active and starts_at <= now < ends_at."""
    starts, ends = campaign.starts_at_ms, campaign.ends_at_ms
    if campaign.status == "paused":
        return Exclusion(Rule.PAUSED)
    if campaign.status == "ended" or (ends is not None and now_ms >= ends):
        return Exclusion(Rule.ENDED, ends)
    if starts is not None and now_ms < starts:
        return Exclusion(Rule.NOT_STARTED, starts)
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


def settled_ids(own: Iterable[OwnTie], campaigns: Mapping[str, Campaign]) -> set[str]:
    """Those of `campaigns` that this customer may not be offered again."""
    return {tie.campaign_id for tie in own if tie.campaign_id in campaigns and settled(campaigns[tie.campaign_id], tie)}


def next_change_ms(campaigns: Iterable[Campaign], *, now_ms: int) -> int | None:
    """The next moment after `now_ms` at which any campaign starts or ends, or None: until then the rules cannot change by themselves."""
    moments = (moment for campaign in campaigns for moment in (campaign.starts_at_ms, campaign.ends_at_ms))
    return min((moment for moment in moments if moment is not None and moment > now_ms), default=None)
