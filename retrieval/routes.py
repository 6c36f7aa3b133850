"""The API's handlers: decode, ask, answer."""

from http import HTTPStatus
from typing import Any, cast

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp, Scope
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from retrieval import bulk_routes, event_routes, operator_routes
from retrieval.documented import asset, openapi
from retrieval.entrance import PUBLIC
from retrieval.health import Probes
from retrieval.keys import ANYBODY
from retrieval.meters import Meters
from retrieval.parameters import (
    DEFAULT_LIMIT,
    CampaignId,
    Category,
    Channel,
    Exclude,
    Explain,
    Limit,
    UserId,
    filters_of,
    refuse_unknown,
)
from retrieval.problems import BAD_REQUEST, NOT_FOUND, REFUSALS, UNAVAILABLE
from retrieval.recommend import Recommender
from retrieval.replies import replied
from retrieval.schemas import Alive, ExplainedRecommendations, Health, Recommendations, WhyNot

FILTERS = {"channel", "category", "exclude"}
PARAMETERS = {"limit", "explain"} | FILTERS
EITHER = cast("type[Any]", Recommendations | ExplainedRecommendations)


@get(
    "/recommendations/{user_id:str}",
    summary="A customer's campaigns, best first, each with its reason",
    responses={
        200: ResponseSpec(EITHER, description="Ranked campaigns", generate_examples=False),
        304: ResponseSpec(None, description="What If-None-Match names is still what would be answered", generate_examples=False),
        400: BAD_REQUEST,
        503: UNAVAILABLE,
        **REFUSALS,
    },
)
async def recommendations(  # noqa: PLR0913, PLR0917 each is a part of the request
    scope: Scope,
    user_id: UserId,
    recommender: NamedDependency[Recommender],
    limit: Limit = DEFAULT_LIMIT,
    explain: Explain = False,
    channel: Channel = None,
    category: Category = None,
    exclude: Exclude = None,
) -> ASGIApp:
    """A customer never heard of gets what is popular. Headers tell the release, the cache's part and what is missing."""
    refuse_unknown(scope, PARAMETERS)
    filters, caller = filters_of(channel, category, exclude), scope["user"]
    if explain:
        reveal = caller.operates and caller is not ANYBODY
        answer = await recommender.explain(user_id, limit=limit, filters=filters, reveal=reveal)
    else:
        answer = await recommender.answer(user_id, limit=limit, filters=filters)
    return replied(answer, scope, holdout=recommender.holds_out(user_id))


@get(
    "/recommendations/{user_id:str}/campaigns/{campaign_id:str}",
    summary="Where one campaign stands for a customer, or which rule keeps it out",
    responses={
        200: ResponseSpec(WhyNot, description="Its place, or each rule that removed it", generate_examples=False),
        400: BAD_REQUEST,
        404: NOT_FOUND,
        503: UNAVAILABLE,
        **REFUSALS,
    },
)
async def why_not(
    scope: Scope,
    user_id: UserId,
    campaign_id: CampaignId,
    recommender: NamedDependency[Recommender],
    channel: Channel = None,
    category: Category = None,
    exclude: Exclude = None,
) -> ASGIApp:
    """Computed anew, from what a recommendation would be made of at this moment."""
    refuse_unknown(scope, FILTERS)
    answer = await recommender.why_not(user_id, campaign_id, filters=filters_of(channel, category, exclude))
    return replied(answer, scope, holdout=recommender.holds_out(user_id))


@get("/health/live", opt={PUBLIC: True}, summary="Whether the process runs")
async def live() -> Alive:
    """Asks no store."""
    return Alive()


@get(
    "/health/ready",
    opt={PUBLIC: True},
    summary="Whether answers can be given, and which stores answer",
    responses={503: ResponseSpec(Health, description="New answers cannot be given", generate_examples=False)},
)
async def ready(probes: NamedDependency[Probes]) -> Response[Health]:
    """Asks every store at the same time."""
    health = await probes.health()
    status = HTTPStatus.SERVICE_UNAVAILABLE if health.status == "unavailable" else HTTPStatus.OK
    return Response(health, status_code=status)


@get("/metrics", summary="What is counted and timed, for Prometheus", media_type=MediaType.TEXT, responses=REFUSALS)
async def metrics(meters: NamedDependency[Meters]) -> Response[bytes]:
    """Needs a key like everything else: it tells how much is asked and what fails."""
    return Response(meters.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


HANDLERS = [recommendations, why_not, live, ready, metrics, openapi, asset]
HANDLERS += [*event_routes.HANDLERS, *bulk_routes.HANDLERS, *operator_routes.HANDLERS]
