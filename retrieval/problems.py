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
from stores.settings import BadSetting

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 1

log = logging.getLogger("retrieval")


class NoRelease(Exception):
    """Nothing was ever released: there is no data that an answer could be made from."""


class Overdue(Exception):
    """The answer took longer than it may."""


class UnknownCampaign(Exception):
    """There is no campaign of this id in the release that is answered from."""


class Overloaded(Exception):
    """More is asked for than can be computed: better refused at once than late."""


class SlowBody(Exception):
    """The request's body did not come in time."""


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


def unknown_campaign(_: Request[Any, Any, Any], exc: UnknownCampaign) -> Response[Problem]:
    """404. The id has passed the pattern of ids, so it may be repeated."""
    status = HTTPStatus.NOT_FOUND
    return answer(Problem(title=status.phrase, status=status, detail=f"there is no campaign {exc}"))


def unsaid(exc: StoreError | Overdue | Overloaded) -> Problem:
    """Why nothing sound can be said. What a store said itself is not in it, for that may hold addresses."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    if isinstance(exc, Overdue):
        return Problem(title=status.phrase, status=status, detail=str(exc))
    if isinstance(exc, Overloaded):
        return Problem(title=status.phrase, status=status, detail="too many answers are being computed already")
    said = "does not answer" if isinstance(exc, Unavailable) else "does not hold what is needed"
    return Problem(
        title=status.phrase, status=status, detail=f"{exc.store} {said}, and nothing sound can be said without it", store=exc.store
    )


def overloaded(_: Request[Any, Any, Any], exc: Overloaded) -> Response[Problem]:
    return answer(unsaid(exc), {"Retry-After": str(RETRY_AFTER_S)})


def slow_body(_: Request[Any, Any, Any], __: SlowBody) -> Response[Problem]:
    status = HTTPStatus.REQUEST_TIMEOUT
    return answer(Problem(title=status.phrase, status=status, detail="the request's body did not come in time"))


def store_failed(_: Request[Any, Any, Any], exc: StoreError | Overdue) -> Response[Problem]:
    """503; what a store said goes to the log."""
    log.warning("503: %s", exc)
    return answer(unsaid(exc), {"Retry-After": str(RETRY_AFTER_S)})


def no_erasure_key(_: Request[Any, Any, Any], exc: BadSetting) -> Response[Problem]:
    """409 for what cannot be done as the platform is set up; the message names the setting."""
    status = HTTPStatus.CONFLICT
    return answer(Problem(title=status.phrase, status=status, detail=str(exc)))


def failed(_: Request[Any, Any, Any], __: Exception) -> Response[Problem]:
    """500 that tells nothing; the log has the traceback."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return answer(Problem(title=status.phrase, status=status))


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    HTTPException: refused,
    NoRelease: no_release,
    Overdue: store_failed,
    Overloaded: overloaded,
    SlowBody: slow_body,
    UnknownCampaign: unknown_campaign,
    StoreError: store_failed,
    BadSetting: no_erasure_key,
    Exception: failed,
}


def documented(description: str) -> ResponseSpec:
    """A problem, as the API's own document tells of it."""
    return ResponseSpec(Problem, media_type=PROBLEM_JSON, description=description, generate_examples=False)


BAD_REQUEST = documented("A parameter is malformed or unknown")
NOT_FOUND = documented("There is no such campaign")
UNAVAILABLE = documented("No release yet, a store without which nothing sound can be said, or too much asked for")
REFUSALS = {401: documented("No valid key was shown"), 429: documented("This key or this address asks too often")}
"""What every route that needs a key may answer."""
OF_A_BODY = {
    400: documented("The body is not what is expected"),
    408: documented("The body did not come in time"),
    413: documented("The body is too large"),
}
"""What every route that takes a body may answer besides."""
OPERATORS_ONLY = {403: documented("The key is not an operator's")}
"""What every route for operators may answer besides."""
