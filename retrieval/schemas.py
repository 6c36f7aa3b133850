"""What the API shows: bodies of answers, explanations, health and problems."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ranking.sources import Evidence
from stores.evidence import CampaignFigures
from stores.records import Release

RetrievalSource = Literal["cache", "computed"]
Score = Annotated[float, Meta(ge=0, le=1, description="Higher is better.")]


class Recommendation(Struct, frozen=True, kw_only=True):
    """One campaign for this customer, and why."""

    campaign_id: str
    ranking_score: Score
    reason: str


class Recommendations(Struct, frozen=True, kw_only=True):
    """A customer's campaigns, best first: by ranking_score downwards, then by campaign_id."""

    user_id: str
    recommendations: list[Recommendation]
    retrieval_source: RetrievalSource


class SourcePlace(Struct, frozen=True, kw_only=True):
    """Where one source ranked the campaign, on what evidence, and its part of the ranking_score."""

    source: str
    rank: Annotated[int, Meta(ge=1)]
    score: float
    contribution: float
    evidence: Evidence


class ExplainedRecommendation(Struct, frozen=True, kw_only=True):
    """A recommendation with the places that made its score, largest contribution first.

    `path` leads through the graph from the customer to the campaign, by the strongest evidence that has one; `figures`
    count everybody's engagement with the campaign.
    """

    campaign_id: str
    ranking_score: Score
    reason: str
    places: list[SourcePlace]
    path: list[str]
    figures: CampaignFigures


class SimilarCustomer(Struct, frozen=True, kw_only=True):
    """A customer whose words are alike: a keyed hash stands for the id, unless an operator asked."""

    customer: str
    similarity: float


class ExplainedRecommendations(Struct, frozen=True, kw_only=True):
    """A customer's campaigns with all evidence. `known` is false for a customer never heard of.

    `holdout` customers get the control answer. `removed` counts the campaigns that each rule kept out.
    """

    user_id: str
    known: bool
    holdout: bool
    recommendations: list[ExplainedRecommendation]
    similar: list[SimilarCustomer]
    removed: dict[str, int]
    retrieval_source: RetrievalSource


class RuleSaid(Struct, frozen=True, kw_only=True):
    """One rule that keeps the campaign from the customer, in words and in its parts: the moments are ISO 8601, UTC.

    `at` decided it, `until` ends it by itself; of a cap `seen` of `allowed` impressions were had.
    """

    rule: str
    reason: str
    at: str | None = None
    until: str | None = None
    what: str | None = None
    seen: int | None = None
    allowed: int | None = None


class WhyNot(Struct, frozen=True, kw_only=True):
    """Where one campaign stands for a customer.

    `ranked`: it is recommended, at `rank`; `untied`: too, but only for its popularity. `removed`: `rules` keep it out.
    `held_back`: it is a fallback, for customers whom nothing else may be offered.
    """

    user_id: str
    campaign_id: str
    name: str
    standing: Literal["ranked", "untied", "removed", "held_back"]
    reason: str
    holdout: bool
    rank: int | None = None
    ranking_score: Score | None = None
    places: list[SourcePlace] = []
    rules: list[RuleSaid] = []


class BulkQuestion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose campaigns are asked for, and how many of each at most."""

    user_ids: Annotated[list[str], Meta(min_length=1, max_length=500)]
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


PostedEvent = Literal["impression", "click", "conversion", "dismissal", "message"]


class EventReceipt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event: `message_id` is the one that it is known by, `reason` says why it was not taken."""

    status: Literal["accepted", "rejected"]
    message_id: str | None = None
    reason: str | None = None


class EventsReceipt(Struct, frozen=True, kw_only=True):
    """What became of the events of one POST, in their order. Those accepted are durable."""

    accepted: int
    rejected: int
    events: list[EventReceipt]


class PlaceStatus(Struct, frozen=True, kw_only=True):
    """How much there was of a customer in one place, and how much is left."""

    found: int
    left: int


class ErasureStatus(Struct, frozen=True, kw_only=True):
    """How an erasure stands. `mark` is the keyed hash that stays; `places` is the proof once it is done, empty before it has begun."""

    status: Literal["requested", "begun", "done"]
    mark: str
    requested_at: str
    done_at: str | None
    places: dict[str, PlaceStatus]


class Releases(Struct, frozen=True):
    """Releases, newest first."""

    releases: list[Release]


class StoreHealth(Struct, frozen=True, kw_only=True):
    """Whether a store answers now, and what it said where it does not."""

    store: str
    reachable: bool
    detail: str = ""


class Health(Struct, frozen=True, kw_only=True):
    """`ready`: everything answers. `degraded`: answers can be given. `unavailable`: new answers cannot."""

    status: Literal["ready", "degraded", "unavailable"]
    release: int | None
    stores: list[StoreHealth]


class Alive(Struct, frozen=True):
    """The process runs."""

    status: Literal["alive"] = "alive"


class Fault(Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a request: `key` is the parameter, `source` where it stood."""

    message: str
    key: str | None = None
    source: str | None = None


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, as problem+json (RFC 9457). `store` names the store that could not answer."""

    title: str
    status: int
    type: str = ""
    detail: str | None = None
    store: str | None = None
    errors: list[Fault] | None = None


class BulkLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One customer's answer among many: that of a single one, with what its headers would say. Only `problem`: nothing can be said."""

    user_id: str
    recommendations: list[Recommendation] | None = None
    retrieval_source: RetrievalSource | None = None
    stale: bool = False
    degraded: list[str] = []
    holdout: bool = False
    problem: Problem | None = None


class BulkAnswers(Struct, frozen=True):
    """One answer for each customer, in the order in which they were asked for."""

    answers: list[BulkLine]
