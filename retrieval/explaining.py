"""A ranking with all of its evidence, as `explain` shows it: other customers only by a keyed hash, unless an operator asks."""

import hmac

import msgspec
from msgspec import Struct

from ranking.eligibility import Standing, removed
from ranking.fusion import Place
from ranking.recommend import Customer, Lineup, Recommended
from ranking.sources import AlikeCustomers, Evidence, SharedCampaign, SharedIntent
from retrieval.schemas import ExplainedRecommendation, ExplainedRecommendations, SimilarCustomer, SourcePlace
from stores.evidence import CampaignFigures

PSEUDONYM_BYTES = 8


class Reveal(Struct, frozen=True, kw_only=True):
    """How other customers are named: by their ids where `plain`, else by a hash under `key`."""

    plain: bool
    key: bytes

    def named(self, user_id: str) -> str:
        if self.plain:
            return user_id
        return f"customer:{hmac.digest(self.key, user_id.encode(), 'sha256')[:PSEUDONYM_BYTES].hex()}"


def explained(
    customer: Customer, ranking: list[Recommended], lineup: Lineup, *, who: Standing, holdout: bool, reveal: Reveal
) -> ExplainedRecommendations:
    """The ranking with the evidence behind each place, whom the customer is like, and what the rules removed."""
    figures = lineup.catalogue.figures
    shown = [
        ExplainedRecommendation(
            campaign_id=each.campaign_id,
            ranking_score=each.score,
            reason=each.reason,
            places=[as_shown(place) for place in each.places],
            path=path(each, customer, reveal),
            figures=figures.get(each.campaign_id) or CampaignFigures(campaign_id=each.campaign_id),
        )
        for each in ranking
    ]
    return ExplainedRecommendations(
        user_id=customer.user_id,
        known=customer.known,
        holdout=holdout,
        recommendations=shown,
        similar=[SimilarCustomer(customer=reveal.named(near.user_id), similarity=near.similarity) for near in customer.neighbours],
        removed={str(rule): count for rule, count in removed(lineup.catalogue.campaigns, who).items()},
        retrieval_source="computed",
    )


def as_shown(place: Place) -> SourcePlace:
    return msgspec.convert(place, SourcePlace, from_attributes=True)


def path(recommended: Recommended, customer: Customer, reveal: Reveal) -> list[str]:
    """The nodes from the customer to the campaign, by the strongest evidence that has a way; empty where none has."""
    ways = (through(place.evidence, recommended.campaign_id, customer, reveal) for place in recommended.places)
    way = next((way for way in ways if way), [])
    return [customer.user_id, *way, recommended.campaign_id] if way else []


def through(evidence: Evidence, campaign_id: str, customer: Customer, reveal: Reveal) -> list[str]:
    """What lies between the customer and the campaign: a campaign, an intent, or the most similar customer who engaged."""
    match evidence:
        case SharedCampaign(via=via):
            return [via]
        case SharedIntent(intent=intent):
            return [f"intent:{intent}"]
        case AlikeCustomers():
            engaged = {tie.user_id for tie in customer.surroundings.neighbours if tie.campaign_id == campaign_id and tie.weight > 0}
            return [reveal.named(near.user_id) for near in customer.neighbours if near.user_id in engaged][:1]
        case _:
            return []
