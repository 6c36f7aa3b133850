"""Where one campaign stands for a customer: its place in the ranking, or each rule that keeps it out, in words."""

from msgspec.structs import replace

from ranking.eligibility import Standing, exclusions
from ranking.recommend import Customer, Lineup, Recommended
from ranking.rules import Exclusion, Rule
from ranking.sources import ENGAGEMENT
from retrieval.explaining import as_shown
from retrieval.schemas import RuleSaid, WhyNot
from stores.records import iso

SENTENCES = {
    Rule.PAUSED: "{name} is paused.",
    Rule.ENDED: "{name} ended on {at}.",
    Rule.NOT_STARTED: "{name} starts on {at}.",
    Rule.OUTSIDE_HOURS: "{name} is outside its hours until {until}.",
    Rule.DISMISSED: "The customer dismissed {name} on {at}.",
    Rule.CONVERTED: "The customer converted on {name} on {at}, and it is not repeatable.",
    Rule.SUPPRESSED: "The customer is suppressed: nothing may be offered to them.",
    Rule.NO_CONSENT: "There is no consent for the channel {what}.",
    Rule.NOT_IN_AUDIENCE: "The customer is not in the audience of {name}: {what}.",
    Rule.CAP_REACHED: "The cap is reached: {seen} of {allowed} impressions of {name}, until {until}.",
    Rule.OVERALL_CAP_REACHED: "The cap is reached: {seen} of {allowed} impressions of all campaigns, until {until}.",
    Rule.FILTERED: "The request leaves {name} out by {what}.",
}
WITHOUT_MOMENT = {
    Rule.ENDED: "{name} has ended.",
    Rule.OUTSIDE_HOURS: "{name} is outside its hours, for good.",
    Rule.CAP_REACHED: "The cap lets nobody see {name}: {seen} of {allowed} impressions.",
    Rule.OVERALL_CAP_REACHED: "The cap lets nobody see any campaign: {seen} of {allowed} impressions.",
}
"""What a rule says where no moment decided it, or none will end it."""


def why_not(campaign_id: str, customer: Customer, ranking: list[Recommended], lineup: Lineup, *, who: Standing, holdout: bool) -> WhyNot:
    """`ranking` is the customer's whole ranking; the campaign is one of the catalogue."""
    campaign = lineup.catalogue.campaigns[campaign_id]
    place = next(((rank, each) for rank, each in enumerate(ranking, start=1) if each.campaign_id == campaign_id), None)
    told = WhyNot(user_id=customer.user_id, campaign_id=campaign_id, name=campaign.name, standing="held_back", reason="", holdout=holdout)
    if place is not None:
        return placed(told, *place)
    if rules := [said(found, campaign.name) for found in exclusions(campaign, who)]:
        return replace(told, standing="removed", reason=rules[0].reason, rules=rules)
    return replace(told, reason=f"{campaign.name} is shown only where nothing else may be offered, and something may.")


def placed(told: WhyNot, rank: int, recommended: Recommended) -> WhyNot:
    """The campaign is recommended: by what ties the customer to it, or for its popularity alone."""
    tied = any(place.source != ENGAGEMENT for place in recommended.places) or not recommended.places
    return replace(
        told,
        standing="ranked" if tied else "untied",
        reason=recommended.reason if tied else f"No source knows a tie between the customer and {told.name}. {recommended.reason}",
        rank=rank,
        ranking_score=recommended.score,
        places=[as_shown(place) for place in recommended.places],
    )


def said(found: Exclusion, name: str) -> RuleSaid:
    """A rule in words, with its moment or its number."""
    at, until = (None if moment is None else iso(moment) for moment in (found.at_ms, found.until_ms))
    told = WITHOUT_MOMENT if at is None and until is None and found.rule in WITHOUT_MOMENT else SENTENCES
    numbers = {"seen": found.seen, "allowed": found.allowed}
    words = told[found.rule].format(name=name, at=at, until=until, what=found.what, **numbers)
    return RuleSaid(rule=str(found.rule), reason=words, at=at, until=until, what=found.what, **numbers)
