"""`POST /events`: what customers did, from whoever saw it."""

from dataclasses import dataclass

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import RawBody
from litestar.status_codes import HTTP_202_ACCEPTED

from retrieval.feedback import EVENTS, Feedback, split
from retrieval.problems import OF_A_BODY, REFUSALS, UNAVAILABLE
from retrieval.schemas import EventsReceipt

MOST_EVENTS = 1000
MOST_BODY_BYTES = 2 * 1024 * 1024

EVENT = Schema(
    type=OpenAPIType.OBJECT,
    description="One record, as input files hold them: all of its fields and aliases are taken.",
    properties={
        "user_id": Schema(type=OpenAPIType.STRING),
        "event": Schema(type=OpenAPIType.STRING, enum=list(EVENTS), default="message"),
        "campaign_id": Schema(type=OpenAPIType.STRING, description="Needed, but for a message."),
        "timestamp": Schema(type=OpenAPIType.STRING, description="ISO 8601; UTC where it names no zone."),
        "message_id": Schema(
            type=OpenAPIType.STRING, description="Of the same event always the same. Made from its content where missing."
        ),
        "message": Schema(type=OpenAPIType.STRING, description="Needed of a message: its text."),
        "intent": Schema(type=OpenAPIType.STRING),
    },
    required=["user_id", "timestamp"],
)
SEVERAL = Schema(type=OpenAPIType.ARRAY, items=EVENT, min_items=1, max_items=MOST_EVENTS)
UNDER_A_NAME = Schema(type=OpenAPIType.OBJECT, properties={"events": SEVERAL}, required=["events"])
EXAMPLE = [{"user_id": "u_001", "event": "dismissal", "campaign_id": "c_104", "timestamp": "2026-11-26T09:30:00Z", "message_id": "e_1"}]


@dataclass
class TakesEvents(Operation):
    """An operation whose body is read by the intake's decoder, which Litestar knows nothing of."""

    def __post_init__(self) -> None:
        content = OpenAPIMediaType(schema=Schema(any_of=[SEVERAL, UNDER_A_NAME, EVENT]), examples={"one": Example(value=EXAMPLE)})
        self.request_body = RequestBody(required=True, content={"application/json": content})


@post(
    "/events",
    status_code=HTTP_202_ACCEPTED,
    request_max_body_size=MOST_BODY_BYTES,
    operation_class=TakesEvents,
    summary="Impressions, clicks, conversions, dismissals and messages of customers, up to 1,000 at once",
    responses={**OF_A_BODY, 503: UNAVAILABLE, **REFUSALS},
)
async def events(body: RawBody, feedback: NamedDependency[Feedback]) -> Response[EventsReceipt]:
    """One event, an array of them, or `{"events": […]}`. Each is accepted or rejected by itself, with its reason.

    Those accepted are durable, and the next answer to their customers honours them. 503: none is known to be kept, and all of
    them may be posted again, as may any event at any time: an event that came before changes nothing.
    """
    receipt, told = await feedback.take(posted(body))
    return Response(receipt, headers={} if told else {"X-Degraded": "redis"})


def posted(body: bytes) -> list[bytes]:
    """The text of each event in the body."""
    try:
        found = split(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ClientException(detail=f"the body is not JSON as expected: {exc}") from exc
    if not 1 <= len(found) <= MOST_EVENTS:
        raise ClientException(detail=f"the body has {len(found)} events: expected 1 to {MOST_EVENTS}")
    return found


HANDLERS = [events]
