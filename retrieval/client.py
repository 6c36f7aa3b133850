"""A typed client for the API, for programs with an event loop and without one.

    from retrieval import client

    with client.Client("http://127.0.0.1:8000", key="cp_…") as api:
        answer = api.send(client.recommendations("u_001", limit=3))
        print(answer.value.recommendations, answer.degraded)

    async with client.AsyncClient("http://127.0.0.1:8000") as api:
        await api.send(client.events([{"user_id": "u_001", "event": "dismissal", "campaign_id": "c_104", "timestamp": "2026-11-26"}]))

A call is a value, so the two clients differ in nothing but how they wait. What fails for a moment (503, 429, a connection that
breaks) is tried again, after the time that the API asks for: every call may be made twice, as events are known by their
message_id.
"""

import asyncio
import random
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Generic, Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from retrieval.schemas import (
    Alive,
    BulkAnswers,
    ErasureStatus,
    EventsReceipt,
    ExplainedRecommendations,
    Health,
    Problem,
    Recommendations,
    Releases,
    WhyNot,
)
from stores.exported import Export

Value = TypeVar("Value")
Query = Mapping[str, str | int | bool]
Outcome = httpx.Response | httpx.TransportError

PASSING = frozenset({429, 503})
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Call(Struct, Generic[Value], frozen=True, kw_only=True):
    """One question to the API. `kind` is what the body of its answer is; `also` are statuses that are answers too."""

    method: str
    path: str
    kind: type[Value]
    query: Query = {}
    body: bytes | None = None
    also: frozenset[int] = frozenset()


class Narrowed(Struct, frozen=True, kw_only=True):
    """What a question is narrowed to: campaigns for one channel, of one category, and without those to `exclude`, at most 100."""

    channel: str | None = None
    category: str | None = None
    exclude: Sequence[str] = ()

    @property
    def query(self) -> Query:
        parts = {"channel": self.channel, "category": self.category, "exclude": ",".join(self.exclude)}
        return {name: part for name, part in parts.items() if part}


NOT_NARROWED = Narrowed()


class Answer(Struct, Generic[Value], frozen=True, kw_only=True):
    """What the API said: the body, and what its headers say of it. `cache` is hit, miss, stale or bypass, "" where it had no part."""

    value: Value
    release: int | None = None
    cache: str = ""
    degraded: tuple[str, ...] = ()


class Refused(Exception):
    """The API answered that it will not, or cannot; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(": ".join(filter(None, (f"{problem.status} {problem.title}", problem.detail))))
        self.problem = problem


class Unreachable(Exception):
    """The API did not answer at all."""


# The calls


def recommendations(user_id: str, *, limit: int = 10, narrowed: Narrowed = NOT_NARROWED) -> Call[Recommendations]:
    """A customer's campaigns, best first."""
    query: Query = {"limit": limit, **narrowed.query}
    return Call(method="GET", path=f"/recommendations/{user_id}", kind=Recommendations, query=query)


def explained(user_id: str, *, limit: int = 10, narrowed: Narrowed = NOT_NARROWED) -> Call[ExplainedRecommendations]:
    """The same with all of its evidence, computed anew."""
    query: Query = {"limit": limit, "explain": "true", **narrowed.query}
    return Call(method="GET", path=f"/recommendations/{user_id}", kind=ExplainedRecommendations, query=query)


def why_not(user_id: str, campaign_id: str, *, narrowed: Narrowed = NOT_NARROWED) -> Call[WhyNot]:
    """Where one campaign stands for a customer, or which rule keeps it from them."""
    return Call(method="GET", path=f"/recommendations/{user_id}/campaigns/{campaign_id}", kind=WhyNot, query=narrowed.query)


def bulk(user_ids: Sequence[str], *, limit: int = 10) -> Call[BulkAnswers]:
    """The campaigns of up to 500 customers, in their order."""
    body = msgspec.json.encode({"user_ids": user_ids, "limit": limit})
    return Call(method="POST", path="/recommendations", kind=BulkAnswers, body=body)


def events(posted: Sequence[Mapping[str, object]]) -> Call[EventsReceipt]:
    """Reports up to 1,000 events, each with the fields of an input record. They are durable when this is answered."""
    return Call(method="POST", path="/events", kind=EventsReceipt, body=msgspec.json.encode({"events": posted}))


def forget(user_id: str) -> Call[ErasureStatus]:
    """Has a customer forgotten in every store. Needs an operator's key."""
    return Call(method="DELETE", path=f"/users/{user_id}", kind=ErasureStatus)


def erasure(user_id: str) -> Call[ErasureStatus]:
    """How a customer's erasure stands, and the proof once it is done. Needs an operator's key."""
    return Call(method="GET", path=f"/users/{user_id}/erasure", kind=ErasureStatus)


def export(user_id: str) -> Call[Export]:
    """Everything that is held about a customer. Needs an operator's key."""
    return Call(method="GET", path=f"/users/{user_id}/export", kind=Export)


def releases(*, limit: int = 20) -> Call[Releases]:
    """The latest releases, newest first. Needs an operator's key."""
    return Call(method="GET", path="/releases", kind=Releases, query={"limit": limit})


def live() -> Call[Alive]:
    """Whether the process runs."""
    return Call(method="GET", path="/health/live", kind=Alive)


def ready() -> Call[Health]:
    """Whether answers can be given, and which stores answer; 503 is an answer too."""
    return Call(method="GET", path="/health/ready", kind=Health, also=frozenset({503}))


# The clients


class Client:
    """For programs without an event loop. `timeout_s` is for each try, of which there are at most `1 + retries`."""

    def __init__(self, url: str, *, key: str = "", timeout_s: float = 5.0, retries: int = 3) -> None:
        self._http = httpx.Client(base_url=url, headers=headers(key), timeout=timeout_s)
        self._retries = retries

    def send(self, call: Call[Value]) -> Answer[Value]:
        """The answer to a call.

        Raises:
            Refused: the API said no, or went on saying that it cannot now.
            Unreachable: it did not answer, however often it was tried.
        """
        steps = conversation(call, self._retries)
        pause_s = next(steps)
        while True:
            time.sleep(pause_s)
            try:
                outcome: Outcome = self._http.send(request(self._http, call))
            except httpx.TransportError as exc:
                outcome = exc
            try:
                pause_s = steps.send(outcome)
            except StopIteration as ended:
                answer: Answer[Value] = ended.value
                return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


class AsyncClient:
    """For programs with an event loop: what `Client` does, without blocking it. `transport` is for tests that have no network."""

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        timeout_s: float = 5.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=headers(key), timeout=timeout_s, transport=transport)
        self._retries = retries

    async def send(self, call: Call[Value]) -> Answer[Value]:
        """The answer to a call. Raises what `Client.send` raises."""
        steps = conversation(call, self._retries)
        pause_s = next(steps)
        while True:
            await asyncio.sleep(pause_s)
            try:
                outcome: Outcome = await self._http.send(request(self._http, call))
            except httpx.TransportError as exc:
                outcome = exc
            try:
                pause_s = steps.send(outcome)
            except StopIteration as ended:
                answer: Answer[Value] = ended.value
                return answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()


# What both do


def conversation(call: Call[Value], retries: int) -> Generator[float, Outcome, Answer[Value]]:
    """Yields how long to wait before each try, is sent what came of it, and returns the answer."""
    pause_s = 0.0
    for left in range(retries, -1, -1):
        outcome = yield pause_s
        if isinstance(outcome, httpx.TransportError):
            if not left:
                raise Unreachable(f"{type(outcome).__name__}: {outcome}") from outcome
            pause_s = backoff_s(retries - left)
        elif outcome.is_success or outcome.status_code in call.also:
            return read(call.kind, outcome)
        elif left and outcome.status_code in PASSING:
            pause_s = asked_pause_s(outcome) or backoff_s(retries - left)
        else:
            raise Refused(problem_of(outcome))
    raise AssertionError("the last try returns or raises")


def backoff_s(tries: int) -> float:
    """Twice as long after each try, and never the same for many clients."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**tries) * random.uniform(0.5, 1.0)  # noqa: S311 no secret


def asked_pause_s(response: httpx.Response) -> float:
    """What Retry-After asks for, in seconds, within reason; 0 where it does not."""
    asked = response.headers.get("Retry-After", "")
    return min(LONGEST_PAUSE_S, float(asked)) if asked.isdigit() else 0.0


def read(kind: type[Value], response: httpx.Response) -> Answer[Value]:
    told = response.headers
    return Answer(
        value=msgspec.json.decode(response.content, type=kind),
        release=int(told["X-Release"]) if "X-Release" in told else None,
        cache=told.get("X-Cache", ""),
        degraded=tuple(filter(None, told.get("X-Degraded", "").split(", "))),
    )


def problem_of(response: httpx.Response) -> Problem:
    """The problem of an answer; made up where something before the API refused."""
    try:
        return msgspec.json.decode(response.content, type=Problem)
    except msgspec.MsgspecError:
        return Problem(title=response.reason_phrase, status=response.status_code)


def request(http: httpx.Client | httpx.AsyncClient, call: Call[Value]) -> httpx.Request:
    content = {"Content-Type": "application/json"} if call.body is not None else {}
    return http.build_request(call.method, call.path, params=dict(call.query), content=call.body, headers=content)


def headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}
