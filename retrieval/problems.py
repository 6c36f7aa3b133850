"""Every error of the API as problem+json (RFC 9457), and nothing of what a store said about itself beyond its name."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ExceptionHandlersMap

from retrieval.schemas import Fault, Problem
from stores.errors import StoreError, Unavailable

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 1

log = logging.getLogger("retrieval")


class NoRelease(Exception):
    """Nothing was ever released: there is no data that an answer could be made from."""


class Overdue(Exception):
    """The answer took longer than it may."""


class UnknownCampaign(Exception):
    """There is no campaign of this id in the release that is answered from."""


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response[Problem]:
    return Response(problem, status_code=problem.status, media_type=PROBLEM_JSON, headers=dict(headers or {}))


def unavailable(detail: str, *, store: str | None = None, retry_after_s: int = RETRY_AFTER_S) -> Response[Problem]:
    """503, with the time after which asking again is worth while."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    problem = Problem(title=status.phrase, status=status, detail=detail, store=store)
    return answer(problem, {"Retry-After": str(retry_after_s)})


def refused(_: Request[Any, Any, Any], exc: HTTPException) -> Response[Problem]:
    """A request that cannot be served as it stands; `errors` names each parameter at fault, and so does `detail`."""
    faults = [fault(each) for each in exc.extra] if isinstance(exc.extra, list) else []
    named = "; ".join(f"{each.key}: {each.message}" for each in faults if each.key)
    title = HTTPStatus(exc.status_code).phrase
    problem = Problem(title=title, status=exc.status_code, detail=named or exc.detail, errors=faults or None)
    return answer(problem, exc.headers)


def fault(extra: object) -> Fault:
    if not isinstance(extra, Mapping):
        return Fault(str(extra))
    return Fault(str(extra.get("message", "")), extra.get("key"), getattr(extra.get("source"), "value", extra.get("source")))


def no_release(_: Request[Any, Any, Any], __: NoRelease) -> Response[Problem]:
    return unavailable("no release yet: nothing has been loaded and released", retry_after_s=5)


def overdue(_: Request[Any, Any, Any], exc: Overdue) -> Response[Problem]:
    return unavailable(str(exc))


def unknown_campaign(_: Request[Any, Any, Any], exc: UnknownCampaign) -> Response[Problem]:
    """404. The id has passed the pattern of ids, so it may be repeated."""
    status = HTTPStatus.NOT_FOUND
    return answer(Problem(title=status.phrase, status=status, detail=f"there is no campaign {exc}"))


def store_failed(_: Request[Any, Any, Any], exc: StoreError) -> Response[Problem]:
    """503 that names the store; what the store said goes to the log, for it may hold addresses."""
    log.warning("503: %s", exc)
    said = "does not answer" if isinstance(exc, Unavailable) else "does not hold what is needed"
    return unavailable(f"{exc.store} {said}, and nothing sound can be said without it", store=exc.store)


def failed(_: Request[Any, Any, Any], __: Exception) -> Response[Problem]:
    """500 that tells nothing; the log has the traceback."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return answer(Problem(title=status.phrase, status=status))


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    HTTPException: refused,
    NoRelease: no_release,
    Overdue: overdue,
    UnknownCampaign: unknown_campaign,
    StoreError: store_failed,
    Exception: failed,
}

BAD_REQUEST = ResponseSpec(Problem, media_type=PROBLEM_JSON, description="A parameter is malformed or unknown", generate_examples=False)
NOT_FOUND = ResponseSpec(Problem, media_type=PROBLEM_JSON, description="There is no such campaign", generate_examples=False)
UNAVAILABLE = ResponseSpec(
    Problem,
    media_type=PROBLEM_JSON,
    description="No release yet, or a store without which nothing sound can be said",
    generate_examples=False,
)
