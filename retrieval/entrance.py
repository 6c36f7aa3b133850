"""What every request passes before the routes know of it, and every answer on its way out.

Plain ASGI around Litestar's own router, so that what is nowhere is kept from strangers too, and a cached answer pays for
none of Litestar's layers. In: the request's id, the key. Out: the id and the security headers, on errors as well.
"""

import itertools
import re
import secrets
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.enums import HttpMethod
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.keys import ANYBODY, NOBODY, Caller, Keys
from retrieval.problems import PROBLEM_JSON
from retrieval.schemas import Problem

Headers = list[tuple[bytes, bytes]]

SECURITY_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")


class Entrance:
    """Lets in who may come in. `public` are the paths that need no key."""

    def __init__(self, app: ASGIApp, *, keys: Keys, public: Collection[str]) -> None:
        self._app = app
        self._keys = keys
        self._public = frozenset(public)
        self._ids = (f"{prefix}-{number:x}".encode() for prefix in [secrets.token_hex(4)] for number in itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401 where a key is needed and no valid one was shown; else the app answers, who asks being in `request.user`."""
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        sent = outgoing(send, request_id, without_body=as_get(scope))
        caller = self._caller(scope["path"], headers)
        if caller is None:
            await refuse(sent, UNAUTHORIZED, [(b"www-authenticate", b"Bearer")])
            return
        scope["user"] = caller
        await self._app(scope, receive, sent)

    def _request_id(self, headers: Mapping[bytes, bytes]) -> bytes:
        """The id that the client gave the request, if it is one, else a new one."""
        given = headers.get(b"x-request-id")
        return given if given is not None and REQUEST_ID.match(given) else next(self._ids)

    def _caller(self, path: str, headers: Mapping[bytes, bytes]) -> Caller | None:
        if not self._keys.are_needed:
            return ANYBODY
        key = shown_key(headers)
        caller = None if key is None else self._keys.caller(key)
        return NOBODY if caller is None and path in self._public else caller


async def operators_only(connection: ASGIConnection[Any, Caller, Any, Any], _: BaseRouteHandler) -> None:
    """A guard for handlers that only operators may call: everybody else gets 403."""
    if not connection.user.operates:
        raise PermissionDeniedException("this key may not do that")


def shown_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key of a request, from `Authorization: Bearer` or `X-API-Key`."""
    authorization = headers.get(b"authorization", b"")
    if authorization[:7].lower() == b"bearer ":
        return authorization[7:].strip()
    return headers.get(b"x-api-key")


def as_get(scope: Scope) -> bool:
    """Makes a HEAD request a GET, and says whether it was one: the answer is the same, without its body."""
    if scope.get("method") != "HEAD":
        return False
    scope["method"] = HttpMethod.GET  # type: ignore[typeddict-unknown-key]
    return True


def outgoing(send: Send, request_id: bytes, *, without_body: bool) -> Send:
    """`send`, with what every answer carries. A handler may set a content policy of its own."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"x-request-id", request_id), *SECURITY_HEADERS]
            if not any(name == CONTENT_POLICY[0] for name, _ in headers):
                headers.append(CONTENT_POLICY)
            message["headers"] = headers
        elif without_body and message["type"] == "http.response.body":
            message["body"] = b""
        await send(message)

    return sent


UNAUTHORIZED = Problem(title="Unauthorized", status=401, detail="a valid key is needed, as Authorization: Bearer or X-API-Key")


async def refuse(send: Send, problem: Problem, headers: Headers) -> None:
    """Answers with a problem, past the app."""
    body = msgspec.json.encode(problem)
    told = [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": problem.status, "headers": told})
    await send({"type": "http.response.body", "body": body, "more_body": False})
