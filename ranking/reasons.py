"""One short sentence per recommendation, made only of evidence that is really there."""

from collections.abc import Mapping, Sequence

from ranking.fusion import Place
from ranking.sources import (
    ENGAGEMENT,
    AlikeCustomers,
    CloseText,
    Evidence,
    OwnChannel,
    OwnEngagement,
    OwnIntent,
    OwnTalk,
    OwnWords,
    Popularity,
    SharedCampaign,
    SharedIntent,
)
from stores.records import Campaign

UNKNOWN_CUSTOMER = "We do not know you yet. "


def reason(campaign_id: str, places: Sequence[Place], campaigns: Mapping[str, Campaign], *, known: bool) -> str:
    """The sentence for one recommended campaign; `places` holds at least one, the largest contribution first.

    What ties the customer to it goes before what is merely popular, and any other tie before a word that the customer said once. For
    a customer never heard of, the sentence says so.
    """
    ties = (place for place in places if place.source != ENGAGEMENT)
    told = min(ties, key=lambda place: in_passing(place.evidence), default=places[0])
    return ("" if known else UNKNOWN_CUSTOMER) + sentence(campaign_id, told.evidence, campaigns)


def in_passing(evidence: Evidence) -> bool:
    """Whether it is no more than something said once."""
    return isinstance(evidence, OwnWords) and evidence.count == 1


def sentence(campaign_id: str, evidence: Evidence, campaigns: Mapping[str, Campaign]) -> str:
    """What one piece of evidence says about a campaign, to the customer it is offered to."""
    name = named(campaign_id, campaigns)
    match evidence:
        case Popularity(customers, exposed):
            return popular(name, customers, exposed)
        case AlikeCustomers(engaged, nearest):
            return f"Customers who talk like you responded to {name} ({engaged} of your {nearest} nearest)."
        case SharedCampaign(via, customers):
            return f"{many(customers)} who responded to {named(via, campaigns)}, as you did, also responded to {name}."
        case SharedIntent(intent, customers):
            return f"{many(customers)} who expressed the intent {intent}, as you did, responded to {name}."
        case CloseText():
            return f"{name} is close to what you talk about."
        case _:
            return of_your_own(name, evidence)


def of_your_own(name: str, evidence: OwnEngagement | OwnWords | OwnIntent | OwnChannel | OwnTalk) -> str:
    """What the customer's own history says about a campaign."""
    match evidence:
        case OwnEngagement("campaign", _, count):
            return f"You responded to {name} {times(count)} before."
        case OwnEngagement(kind, value, count):
            return f"You responded {times(count)} to campaigns of the {kind} {value}, and {name} is one."
        case OwnWords(term, count):
            return f"You spoke of {term} {times(count)}, and {name} is about it."
        case OwnIntent(intent, count):
            return f"You came for {intent} {times(count)}, and {name} is of that category."
        case OwnChannel(channel, count):
            return f"You responded {times(count)} by {channel}, and {name} comes that way."
        case OwnTalk(word):
            return f"You speak of {word}, and customers who did responded to {name}."


def nothing_else(campaign_id: str, campaigns: Mapping[str, Campaign]) -> str:
    """Why a fallback campaign is shown."""
    return f"{named(campaign_id, campaigns)} is what we have for everybody: nothing else may be offered to you now."


def popular(name: str, customers: int, exposed: int) -> str:
    if not customers:
        return f"{name} is open to you; nobody has responded to it yet."
    return f"{name} is popular: {many(customers)} responded" + (f", and it reached {exposed}." if exposed else ".")


def named(campaign_id: str, campaigns: Mapping[str, Campaign]) -> str:
    return campaigns[campaign_id].name if campaign_id in campaigns else campaign_id


def many(customers: int) -> str:
    return "1 customer" if customers == 1 else f"{customers} customers"


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
