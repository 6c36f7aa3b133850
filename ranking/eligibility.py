"""What a campaign asks of one customer, and what a request leaves out: every rule that keeps the one from the other.

All rules are judged at one moment, from what the stores say of the customer then. What is not known speaks against a
campaign that asks for it: unknown consent is none, an unknown attribute fits no audience.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from ranking.rules import Exclusion, Rule, not_running, settled
from stores.evidence import OwnTie, Surroundings
from stores.records import Audience, Campaign, Cap, Profile

HOUR_MS = 3_600_000
NEVER: Mapping[str, OwnTie] = {}


class Policy(Struct, frozen=True, kw_only=True):
    """The rules for all campaigns, from settings: the cap over all impressions, and the share of customers who are held out."""

    overall_cap: Cap | None = None
    holdout_share: float = 0.0
    holdout_salt: str = ""


class Filters(Struct, frozen=True, kw_only=True):
    """What one request narrows the answer to: a channel that it goes out by, a category; `exclude` are campaigns left out."""

    channel: str | None = None
    category: str | None = None
    exclude: tuple[str, ...] = ()


NO_FILTERS = Filters()
NO_POLICY = Policy()


class Standing(Struct, frozen=True, kw_only=True):
    """One customer as the rules see them at `now_ms`: what is known, what is asked for, and their ties by campaign."""

    now_ms: int
    own: Mapping[str, OwnTie] = NEVER
    profile: Profile = Profile()
    mailed: frozenset[str] = frozenset()
    filters: Filters = NO_FILTERS
    overall_cap: Cap | None = None


def standing(around: Surroundings, *, now_ms: int, filters: Filters = NO_FILTERS, policy: Policy = NO_POLICY) -> Standing:
    """The customer whom the stores say this of, before the rules."""
    return Standing(
        now_ms=now_ms,
        own={tie.campaign_id: tie for tie in around.own},
        profile=around.profile,
        mailed=frozenset(around.mailed),
        filters=filters,
        overall_cap=policy.overall_cap,
    )


def exclusions(campaign: Campaign, who: Standing) -> Iterator[Exclusion]:
    """Every rule that keeps the campaign from the customer, in the order in which they are told; none where it may be offered."""
    stopped = not_running(campaign, now_ms=who.now_ms)
    own = who.own.get(campaign.campaign_id)
    done = settled(campaign, own) if own else None
    yield from (found for found in (stopped, done) if found)
    if who.profile.suppressed:
        yield Exclusion(Rule.SUPPRESSED)
    yield from (found for found in (no_consent(campaign, who), not_in_audience(campaign.rules.audience, who)) if found)
    times_ms = own.shown_at_ms if own else ()
    yield from (found for cap in campaign.rules.caps if (found := reached(Rule.CAP_REACHED, cap, times_ms, now_ms=who.now_ms)))
    if found := overall_cap_reached(who):
        yield found
    yield from filtered(campaign, who.filters)


def no_consent(campaign: Campaign, who: Standing) -> Exclusion | None:
    """Closed are the channels that the customer refused, and those that need consent and have none.

    By the channel that is asked for, else by any of the campaign's channels, the campaign must be able to reach the customer.
    """
    needs, consent = campaign.rules.requires_consent, who.profile.consent
    channels = (who.filters.channel,) if who.filters.channel else campaign.channels or needs
    closed = [channel for channel in channels if not consent.get(channel, channel not in needs)]
    return Exclusion(Rule.NO_CONSENT, what=", ".join(closed)) if channels and len(closed) == len(channels) else None


def not_in_audience(audience: Audience | None, who: Standing) -> Exclusion | None:
    """The first thing that the audience asks for and the customer has not."""
    if audience is None:
        return None
    if audience.group is not None and audience.group not in who.mailed:
        return Exclusion(Rule.NOT_IN_AUDIENCE, what=f"group {audience.group}")
    unfit = (name for name, values in sorted(audience.attributes.items()) if who.profile.attributes.get(name) not in values)
    name = next(unfit, None)
    return None if name is None else Exclusion(Rule.NOT_IN_AUDIENCE, what=f"attribute {name}")


def reached(rule: Rule, cap: Cap, times_ms: Sequence[int], *, now_ms: int) -> Exclusion | None:
    """Whether the impressions at these times, in order, use a cap up: one counts until `period_hours` have passed since.

    `until_ms` is the moment at which one more is allowed again; None where the cap is 0.
    """
    period_ms = cap.period_hours * HOUR_MS
    counting = [time for time in times_ms if time > now_ms - period_ms]
    if len(counting) < cap.impressions:
        return None
    until_ms = counting[len(counting) - cap.impressions] + period_ms if cap.impressions else None
    return Exclusion(rule, until_ms=until_ms, seen=len(counting), allowed=cap.impressions)


def overall_cap_reached(who: Standing) -> Exclusion | None:
    """Whether impressions of all campaigns together use the overall cap up."""
    if who.overall_cap is None:
        return None
    times_ms = sorted(time for tie in who.own.values() for time in tie.shown_at_ms)
    return reached(Rule.OVERALL_CAP_REACHED, who.overall_cap, times_ms, now_ms=who.now_ms)


def filtered(campaign: Campaign, filters: Filters) -> Iterator[Exclusion]:
    """What the request itself leaves out. A campaign without channels goes out by every channel."""
    if filters.channel and campaign.channels and filters.channel not in campaign.channels:
        yield Exclusion(Rule.FILTERED, what="channel")
    if filters.category and campaign.category != filters.category:
        yield Exclusion(Rule.FILTERED, what="category")
    if campaign.campaign_id in filters.exclude:
        yield Exclusion(Rule.FILTERED, what="exclude")


def restricted(campaigns: Mapping[str, Campaign]) -> frozenset[str]:
    """The campaigns that ask something of a customer of whom nothing is known."""
    return frozenset(key for key, each in campaigns.items() if each.rules.audience or each.rules.requires_consent or each.rules.caps)


def allowed(campaigns: Mapping[str, Campaign], asking: frozenset[str], who: Standing) -> Mapping[str, Campaign]:
    """Those of the running `campaigns` that the customer may be offered; `asking` are the restricted ones among them.

    Where nothing is asked for and no channel is refused, only restricted campaigns and the customer's own need a look.
    """
    if who.profile.suppressed or overall_cap_reached(who):
        return {}
    open_to_all = who.filters == NO_FILTERS and all(who.profile.consent.values())
    looked_at = (asking | who.own.keys()) & campaigns.keys() if open_to_all else campaigns.keys()
    out = {key for key in looked_at if next(exclusions(campaigns[key], who), None)}
    return {key: campaign for key, campaign in campaigns.items() if key not in out} if out else campaigns


def removed(campaigns: Mapping[str, Campaign], who: Standing) -> dict[Rule, int]:
    """How many campaigns each rule keeps from the customer; one that several do counts for the first."""
    first = (next(exclusions(campaign, who), None) for campaign in campaigns.values())
    return dict(sorted(Counter(found.rule for found in first if found).items()))


def until_ms(campaigns: Mapping[str, Campaign], who: Standing) -> int | None:
    """The next moment at which a cap that is used up lets one of the campaigns through again; None where none does.

    With `rules.next_change_ms` this bounds how long an answer stays true of its own accord.
    """
    capped = (campaigns[key] for key in who.own.keys() & campaigns.keys() if campaigns[key].rules.caps)
    own = (
        reached(Rule.CAP_REACHED, cap, who.own[campaign.campaign_id].shown_at_ms, now_ms=who.now_ms)
        for campaign in capped
        for cap in campaign.rules.caps
    )
    moments = (found.until_ms for found in (*own, overall_cap_reached(who)) if found and found.until_ms is not None)
    return min(moments, default=None)


def fallbacks(campaigns: Mapping[str, Campaign]) -> list[str]:
    """The campaigns for where nothing else may be offered: the highest priority first, then by campaign_id."""
    return sorted((key for key, each in campaigns.items() if each.rules.fallback), key=lambda key: (-campaigns[key].priority, key))
