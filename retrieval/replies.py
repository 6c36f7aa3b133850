"""Answers on their way out: bytes as they came from the cache, and headers that say everything else about them."""

from http import HTTPStatus

import msgspec
from litestar.types import Receive, Scope, Send
from msgspec import Struct

from retrieval.answers import Answer
from retrieval.problems import PROBLEM_JSON
from retrieval.schemas import Problem

Headers = list[tuple[bytes, bytes]]

CACHE_STATUS = {
    "hit": b"redis; hit",
    "miss": b"redis; fwd=miss",
    "stale": b'redis; hit; detail="stale-if-error"',
    "bypass": b"redis; fwd=bypass",
}
"""What RFC 9211 calls each of our words for the cache's part."""


ANSWER = "answer"
"""Where a request's state holds the answer that was given, for whoever counts and logs."""


class Reply(Struct, frozen=True):
    """A response as an ASGI app: two messages, nothing computed on the way."""

    status: int
    headers: Headers
    body: bytes = b""

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def replied(answer: Answer, scope: Scope, *, holdout: bool = False) -> Reply:
    """The answer; or 304 where the client has it already. What is degraded or stale is nobody's to keep."""
    scope["state"][ANSWER] = answer
    headers: Headers = [
        (b"x-release", b"%d" % answer.release),
        (b"x-cache", answer.cache.encode()),
        (b"cache-status", CACHE_STATUS[answer.cache]),
    ]
    if holdout:
        headers.append((b"x-holdout", b"true"))
    if answer.missing or answer.cache == "stale":
        headers.append((b"cache-control", b"no-store"))
        if answer.missing:
            headers.append((b"x-degraded", ", ".join(dict.fromkeys(answer.missing)).encode()))
    else:
        tag = answer.tag
        headers += ((b"cache-control", b"private, no-cache"), (b"etag", tag))
        if holds(scope, tag):
            return Reply(304, headers)
    headers += ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer.body)))
    return Reply(200, headers, answer.body)


def holds(scope: Scope, tag: bytes) -> bool:
    """Whether If-None-Match names this tag, or any: compared weakly, as RFC 9110 has it."""
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            return value == b"*" or tag[2:] in (each.strip().removeprefix(b"W/") for each in value.split(b","))
    return False


def refusal(status: HTTPStatus, detail: str, headers: Headers) -> Reply:
    """A problem that is known before any handler is, the same for everybody."""
    body = msgspec.json.encode(Problem(title=status.phrase, status=status, detail=detail))
    told = [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", b"%d" % len(body)), *headers]
    return Reply(status, told, body)
