"""What only operators may ask for: erasures, exports, releases."""

from typing import Annotated

from litestar import Response, delete, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import QueryParameter
from litestar.status_codes import HTTP_202_ACCEPTED
from litestar.types import Scope

from retrieval.entrance import operators_only
from retrieval.operators import Operators, status_of
from retrieval.parameters import UserId, refuse_unknown
from retrieval.problems import BAD_REQUEST, OPERATORS_ONLY, REFUSALS, UNAVAILABLE, documented
from retrieval.schemas import ErasureStatus, Releases
from stores.exported import Export

NO_STORE = {"Cache-Control": "no-store"}
NO_KEY = documented("The erasure key is not set")
NOT_ASKED = documented("No erasure was asked for")
EVERY = {400: BAD_REQUEST, 503: UNAVAILABLE, **REFUSALS, **OPERATORS_ONLY}


@delete(
    "/users/{user_id:str}",
    status_code=HTTP_202_ACCEPTED,
    guards=[operators_only],
    summary="Forget a customer, in every store",
    responses={**EVERY, 409: NO_KEY},
)
async def forget(scope: Scope, user_id: UserId, operators: NamedDependency[Operators]) -> Response[ErasureStatus]:
    """Answers show nothing of the customer from now on; the stores follow. `Location` is where the proof will be."""
    refuse_unknown(scope, set())
    asked = await operators.forget(user_id)
    headers = NO_STORE | {"Location": f"/users/{user_id}/erasure"} | ({"X-Degraded": asked.untold.store} if asked.untold else {})
    return Response(status_of(asked.erasure), headers=headers)


@get(
    "/users/{user_id:str}/erasure",
    guards=[operators_only],
    summary="How a customer's erasure stands, and the proof once it is done",
    responses={**EVERY, 404: NOT_ASKED, 409: NO_KEY},
)
async def erasure(scope: Scope, user_id: UserId, operators: NamedDependency[Operators]) -> Response[ErasureStatus]:
    """What was found where, and that nothing is left."""
    refuse_unknown(scope, set())
    found = await operators.erasure(user_id)
    if found is None:
        raise NotFoundException("no erasure of this customer was asked for")
    return Response(status_of(found), headers=NO_STORE)


@get("/users/{user_id:str}/export", guards=[operators_only], summary="Everything held about a customer", responses=EVERY)
async def export(scope: Scope, user_id: UserId, operators: NamedDependency[Operators]) -> Response[Export]:
    """From every store; 503 rather than leave one out."""
    refuse_unknown(scope, set())
    return Response(await operators.export(user_id), headers=NO_STORE)


@get("/releases", guards=[operators_only], summary="The latest releases, newest first", responses=EVERY)
async def releases(
    scope: Scope,
    operators: NamedDependency[Operators],
    limit: Annotated[int, QueryParameter(ge=1, le=100, description="How many at most.")] = 20,
) -> Response[Releases]:
    """What each was made of, and when."""
    refuse_unknown(scope, {"limit"})
    return Response(Releases(await operators.releases(limit)), headers=NO_STORE)


HANDLERS = [forget, erasure, export, releases]
