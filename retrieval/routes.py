"""The API's handlers: decode, ask, answer."""

from http import HTTPStatus
from typing import Any, cast

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.enums import OpenAPIMediaType
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from retrieval.health import Probes
from retrieval.parameters import (
    QUERY_PARAMETERS,
    CampaignId,
    Category,
    Channel,
    Exclude,
    Explain,
    Limit,
    UserId,
    filters_of,
    only_known_parameters,
)
from retrieval.problems import BAD_REQUEST, NOT_FOUND, UNAVAILABLE
from retrieval.recommend import Answer, Recommender
from retrieval.schemas import Alive, ExplainedRecommendations, Health, Recommendations, WhyNot

CACHE_STATUS = {
    "hit": "redis; hit",
    "miss": "redis; fwd=miss",
    "stale": 'redis; hit; detail="stale-if-error"',
    "bypass": "redis; fwd=bypass",
}
"""What RFC 9211 calls each of our words for the cache's part."""


EITHER = cast("type[Any]", Recommendations | ExplainedRecommendations)


@get(
    "/recommendations/{user_id:str}",
    guards=[only_known_parameters],
    opt={QUERY_PARAMETERS: {"limit", "explain", "channel", "category", "exclude"}},
    summary="A customer's campaigns, best first, each with its reason",
    responses={
        200: ResponseSpec(EITHER, description="Ranked campaigns", generate_examples=False),
        400: BAD_REQUEST,
        503: UNAVAILABLE,
    },
)
async def recommendations(
    user_id: UserId,
    recommender: NamedDependency[Recommender],
    limit: Limit = 10,
    explain: Explain = False,
    channel: Channel = None,
    category: Category = None,
    exclude: Exclude = None,
) -> ASGIApp:
    """A customer never heard of gets what is popular. Headers tell the release, the cache's part and what is missing."""
    ask = recommender.explain if explain else recommender.answer
    answer = await ask(user_id, limit=limit, filters=filters_of(channel, category, exclude))
    return ASGIResponse(body=answer.body, headers=headers(answer, holdout=recommender.holds_out(user_id)))


@get(
    "/recommendations/{user_id:str}/campaigns/{campaign_id:str}",
    guards=[only_known_parameters],
    opt={QUERY_PARAMETERS: {"channel", "category", "exclude"}},
    summary="Where one campaign stands for a customer, or which rule keeps it out",
    responses={
        200: ResponseSpec(WhyNot, description="Its place, or each rule that removed it", generate_examples=False),
        400: BAD_REQUEST,
        404: NOT_FOUND,
        503: UNAVAILABLE,
    },
)
async def why_not(
    user_id: UserId,
    campaign_id: CampaignId,
    recommender: NamedDependency[Recommender],
    channel: Channel = None,
    category: Category = None,
    exclude: Exclude = None,
) -> ASGIApp:
    """Computed anew, from what a recommendation would be made of at this moment."""
    answer = await recommender.why_not(user_id, campaign_id, filters=filters_of(channel, category, exclude))
    return ASGIResponse(body=answer.body, headers=headers(answer, holdout=recommender.holds_out(user_id)))


def headers(answer: Answer, *, holdout: bool = False) -> list[tuple[str, str]]:
    """Everything about an answer that is not the answer."""
    told = [
        ("X-Release", str(answer.release)),
        ("X-Cache", answer.cache),
        ("Cache-Status", CACHE_STATUS[answer.cache]),
        ("Cache-Control", "private, no-cache"),
    ]
    if holdout:
        told.append(("X-Holdout", "true"))
    if answer.missing:
        told.append(("X-Degraded", ", ".join(dict.fromkeys(answer.missing))))
    return told


@get("/health/live", summary="Whether the process runs")
async def live() -> Alive:
    """Asks no store."""
    return Alive()


@get(
    "/health/ready",
    summary="Whether answers can be given, and which stores answer",
    responses={503: ResponseSpec(Health, description="New answers cannot be given", generate_examples=False)},
)
async def ready(probes: NamedDependency[Probes]) -> Response[Health]:
    """Asks every store at the same time."""
    health = await probes.health()
    status = HTTPStatus.SERVICE_UNAVAILABLE if health.status == "unavailable" else HTTPStatus.OK
    return Response(health, status_code=status)


@get("/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON, include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The schema of this API, OpenAPI 3.1."""
    return request.app.openapi_schema.to_schema()


HANDLERS = [recommendations, why_not, live, ready, openapi]
