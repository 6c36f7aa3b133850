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
from retrieval.meters import Meters
from retrieval.parameters import DEFAULT_LIMIT, Explain, Limit, UserId, refuse_unknown
from retrieval.problems import BAD_REQUEST, REFUSALS, UNAVAILABLE
from retrieval.recommend import Recommender
from retrieval.replies import replied
from retrieval.schemas import Alive, ExplainedRecommendations, Health, Recommendations

PARAMETERS = {"limit", "explain"}
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
async def recommendations(
    scope: Scope, user_id: UserId, recommender: NamedDependency[Recommender], limit: Limit = DEFAULT_LIMIT, explain: Explain = False
) -> ASGIApp:
    """A customer never heard of gets what is popular. Headers tell the release, the cache's part and what is missing."""
    refuse_unknown(scope, PARAMETERS)
    ask = recommender.explain if explain else recommender.answer
    return replied(await ask(user_id, limit=limit), scope)


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


HANDLERS = [
    *(recommendations, live, ready, metrics, openapi, asset),
    *event_routes.HANDLERS,
    *bulk_routes.HANDLERS,
    *operator_routes.HANDLERS,
]
