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
from retrieval.parameters import QUERY_PARAMETERS, Explain, Limit, UserId, only_known_parameters
from retrieval.problems import BAD_REQUEST, UNAVAILABLE
from retrieval.recommend import Answer, Recommender
from retrieval.schemas import Alive, ExplainedRecommendations, Health, Recommendations

CACHE_STATUS = {
    "hit": "redis; hit",
    "miss": "redis; fwd=miss",
    "stale": 'redis; hit; detail="stale-if-error"',
    "bypass": "redis; fwd=bypass",
}
"""What RFC 9211 calls each of our words for the cache's part."""

PUBLIC = "public"
"""The name of the option of a handler that needs no key. One for operators has the guard `operators_only` of retrieval.entrance."""

EITHER = cast("type[Any]", Recommendations | ExplainedRecommendations)


@get(
    "/recommendations/{user_id:str}",
    guards=[only_known_parameters],
    opt={QUERY_PARAMETERS: {"limit", "explain"}},
    summary="A customer's campaigns, best first, each with its reason",
    responses={
        200: ResponseSpec(EITHER, description="Ranked campaigns", generate_examples=False),
        400: BAD_REQUEST,
        503: UNAVAILABLE,
    },
)
async def recommendations(
    user_id: UserId, recommender: NamedDependency[Recommender], limit: Limit = 10, explain: Explain = False
) -> ASGIApp:
    """A customer never heard of gets what is popular. Headers tell the release, the cache's part and what is missing."""
    ask = recommender.explain if explain else recommender.answer
    answer = await ask(user_id, limit=limit)
    return ASGIResponse(body=answer.body, headers=headers(answer))


def headers(answer: Answer) -> list[tuple[str, str]]:
    """Everything about an answer that is not the answer."""
    told = [
        ("X-Release", str(answer.release)),
        ("X-Cache", answer.cache),
        ("Cache-Status", CACHE_STATUS[answer.cache]),
        ("Cache-Control", "private, no-cache"),
    ]
    if answer.missing:
        told.append(("X-Degraded", ", ".join(dict.fromkeys(answer.missing))))
    return told


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


@get("/openapi.json", opt={PUBLIC: True}, media_type=OpenAPIMediaType.OPENAPI_JSON, include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The schema of this API, OpenAPI 3.1."""
    return request.app.openapi_schema.to_schema()


HANDLERS = [recommendations, live, ready, openapi]
