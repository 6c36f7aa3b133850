"""What every request passes before the routes know of it, and every answer on its way out.

Plain ASGI around Litestar's own router, so that what is nowhere is kept from strangers too. In: the request's id, how often
its address and its key ask, the key. Out: the id, the security headers, the measures, and a line in the log unless the
answer came from the cache.
"""

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from litestar.connection import ASGIConnection
from litestar.enums import HttpMethod, ScopeType
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, HTTPScope, Message, Receive, ReceiveMessage, Scope, Send

from retrieval.answers import Answer
from retrieval.keys import ANYBODY, NOBODY, Caller, Keys
from retrieval.limits import Addresses, Limits
from retrieval.logs import REQUEST_ID
from retrieval.meters import Meters
from retrieval.problems import SlowBody
from retrieval.replies import ANSWER, Headers, Reply, refusal
from retrieval.tracing import Tracing
from stores.settings import Settings

SECURITY_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
BODY_S = 10.0
SHOWN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
NO_ROUTE = "none"
PUBLIC = "public"
"""The option of a handler that needs no key. One that only operators may call has the guard `operators_only`."""
HEALTH = "/health/"
"""Never too often asked for: a proxy that is refused there would take the API for dead."""
TELL_METHODS = {HTTPStatus.NO_CONTENT, HTTPStatus.METHOD_NOT_ALLOWED}
READS = {"GET", "HEAD", "OPTIONS"}
METHODS = READS | {"POST", "PUT", "PATCH", "DELETE"}

UNAUTHORIZED = refusal(
    HTTPStatus.UNAUTHORIZED, "a valid key is needed, as Authorization: Bearer or X-API-Key", [(b"www-authenticate", b"Bearer")]
)

log = logging.getLogger("retrieval")


class Entrance:
    """Lets in who may come in. `public` are the paths that need no key."""

    def __init__(
        self, app: ASGIApp, *, settings: Settings, public: Collection[str], limits: Limits, meters: Meters, tracing: Tracing | None = None
    ) -> None:
        self._app = app
        self._settings = settings
        self._keys = Keys(settings)
        self._addresses = Addresses(settings)
        self._public = frozenset(public)
        self._limits = limits
        self._meters = meters
        self._tracing = tracing
        self._ids = (f"{prefix}-{number:x}".encode() for prefix in [secrets.token_hex(4)] for number in itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401 or 429 itself; else the app answers, and finds who asks in `request.user`."""
        if scope["type"] != ScopeType.HTTP:
            return
        headers = dict(scope["headers"])
        if self._tracing is None:
            await self._answer(scope, receive, send, headers)
            return
        with self._tracing.request(headers) as answered:
            answered(*await self._answer(scope, receive, send, headers))

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send, headers: Mapping[bytes, bytes]) -> tuple[str, str, int]:
        """Answers, measures and logs; gives the method, the route and the status."""
        started_s = time.perf_counter()
        method = scope["method"] if scope["method"] in METHODS else "other"
        outgoing = Outgoing(send, self._request_id(headers), without_body=as_get(scope))
        try:
            await (self._refused(scope, headers) or self._app)(scope, receive if method in READS else Incoming(receive), outgoing)
        finally:
            seconds, route = time.perf_counter() - started_s, scope.get("path_template", NO_ROUTE)
            self._measured(method, route, outgoing.status, seconds, scope)
        return method, route, outgoing.status

    def _refused(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Reply | None:
        """The answer to whoever may not pass; None where the app is to answer."""
        scope["user"] = NOBODY
        path = scope["path"]
        if path.startswith(HEALTH) and path in self._public:
            return None
        client = scope["client"] or ("127.0.0.1", 0)
        address = self._addresses.of(client[0], headers.get(b"x-forwarded-for", b""))
        if wait_s := self._limits.admit(f"address:{address}", per_s=self._settings.address_requests_per_s):
            return self._too_often("address", wait_s)
        if path in self._public:
            return None
        scope["user"] = caller = self._caller(headers)
        if caller is None:
            return UNAUTHORIZED
        if caller is not ANYBODY and (wait_s := self._limits.admit(f"key:{caller.name}", per_s=self._settings.key_requests_per_s)):
            return self._too_often("key", wait_s)
        return None

    def _caller(self, headers: Mapping[bytes, bytes]) -> Caller | None:
        if not self._keys.are_needed:
            return ANYBODY
        key = shown_key(headers)
        return None if key is None else self._keys.caller(key)

    def _too_often(self, by: str, wait_s: int) -> Reply:
        self._meters.limited.add(by)
        return refusal(HTTPStatus.TOO_MANY_REQUESTS, f"too many requests for this {by}", [(b"retry-after", b"%d" % wait_s)])

    def _request_id(self, headers: Mapping[bytes, bytes]) -> bytes:
        """The id that the client gave the request, if it is one, else a new one; the log has it from here on."""
        given = headers.get(b"x-request-id")
        request_id = given if given is not None and SHOWN_ID.match(given) else next(self._ids)
        REQUEST_ID.set(request_id.decode())
        return request_id

    def _measured(self, method: str, route: str, status: int, seconds: float, scope: Scope) -> None:
        """Counts and times a request, and logs it unless it was a read that came from the cache or asked no store."""
        self._meters.requests.add(method, route, str(status))
        self._meters.request_times.add(seconds, route)
        answer: Answer | None = scope["state"].get(ANSWER)
        if answer is not None:
            self._meters.answered(answer)
        if status >= 400 or method not in READS or (answer is not None and answer.cache != "hit"):
            extra = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 2)}
            if answer is not None:
                extra |= {"release": answer.release, "cache": answer.cache}
            if scope["user"]:
                extra["key"] = scope["user"].name or None
            log.info("%s %s %d in %.2f ms", method, route, status, seconds * 1000, extra=extra)


class Incoming:
    """`receive`, for a body that must be there within `BODY_S` of the first time that it is asked for."""

    __slots__ = ("_receive", "_until_s", "_whole")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._until_s: float | None = None
        self._whole = False

    async def __call__(self) -> ReceiveMessage:
        """The next message.

        Raises:
            SlowBody: it did not come in time.
        """
        if self._whole:  # what comes now is only that the client went away
            return await self._receive()
        self._until_s = self._until_s or asyncio.get_running_loop().time() + BODY_S
        try:
            async with asyncio.timeout_at(self._until_s):
                message = await self._receive()
        except TimeoutError:
            raise SlowBody from None
        self._whole = not message.get("more_body", False)
        return message


class Outgoing:
    """`send`, with what every answer carries. A handler may set a content policy of its own."""

    __slots__ = ("_request_id", "_send", "_without_body", "status")

    def __init__(self, send: Send, request_id: bytes, *, without_body: bool) -> None:
        self._send, self._request_id, self._without_body = send, request_id, without_body
        self.status = 500
        """The status that was sent; 500 before any was."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = message["headers"] if self.status not in TELL_METHODS else map(with_head, message["headers"])
            headers = [*told, (b"x-request-id", self._request_id), *SECURITY_HEADERS]
            if not any(name == CONTENT_POLICY[0] for name, _ in headers):
                headers.append(CONTENT_POLICY)
            message["headers"] = headers
        elif self._without_body and message["type"] == "http.response.body":
            message["body"] = b""
        await self._send(message)


def with_head(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A header; in `Allow`, HEAD stands beside GET."""
    name, value = header
    return (name, value.replace(b"GET", b"GET, HEAD")) if name == b"allow" else header


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


async def operators_only(connection: ASGIConnection[Any, Caller, Any, Any], _: BaseRouteHandler) -> None:
    """A guard for handlers that only operators may call: everybody else gets 403."""
    if not connection.user.operates:
        raise PermissionDeniedException("this key may not do that")
