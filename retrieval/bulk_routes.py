"""`POST /recommendations`: answers for up to 500 customers."""

from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.response import Response, Stream
from litestar.status_codes import HTTP_200_OK

from retrieval.bulk import Bulk
from retrieval.keys import Caller
from retrieval.problems import OF_A_BODY, REFUSALS, UNAVAILABLE
from retrieval.schemas import BulkAnswers, BulkQuestion

NDJSON = "application/x-ndjson"
MOST_BODY_BYTES = 256 * 1024


@post(
    "/recommendations",
    status_code=HTTP_200_OK,
    request_max_body_size=MOST_BODY_BYTES,
    summary="The campaigns of up to 500 customers",
    responses={
        200: ResponseSpec(BulkAnswers, description="One answer for each customer, in their order", generate_examples=False),
        503: UNAVAILABLE,
        **OF_A_BODY,
        **REFUSALS,
    },
)
async def bulk_recommendations(
    data: JSONBody[BulkQuestion], request: Request[Caller, Any, Any], bulk: NamedDependency[Bulk]
) -> Response[bytes] | Stream:
    """With `Accept: application/x-ndjson`, one answer a line, each sent as soon as it is there.

    A customer for whom nothing can be said has a `problem` in their answer, and the others are answered.
    """
    chunks = bulk.lines(data.user_ids, limit=data.limit)
    first = await anext(chunks)
    if NDJSON in request.headers.get("accept", ""):
        return Stream(streamed(first, chunks), media_type=NDJSON, headers={"Cache-Control": "no-store"})
    lines = first + [line async for chunk in chunks for line in chunk]
    return Response(b'{"answers":[' + b",".join(lines) + b"]}", media_type="application/json", headers={"Cache-Control": "no-store"})


async def streamed(first: list[bytes], chunks: AsyncIterator[list[bytes]]) -> AsyncIterator[bytes]:
    yield b"\n".join(first) + b"\n"
    async for lines in chunks:
        yield b"\n".join(lines) + b"\n"


HANDLERS = [bulk_recommendations]
