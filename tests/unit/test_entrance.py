"""Who gets in, and what every answer carries; around an app of three routes."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from litestar import Litestar, Request, get, post
from litestar.params import JSONBody

from retrieval import entrance
from retrieval.entrance import Entrance, operators_only
from retrieval.keys import Caller, drawn, entry_of
from retrieval.limits import Limits
from retrieval.meters import Meters
from retrieval.problems import EXCEPTION_HANDLERS
from stores.counters import Counters
from stores.settings import Settings

READER, OPERATOR = drawn(), drawn()
KEYED = Settings(api_keys=(entry_of(READER, name="shop", scope="read"), entry_of(OPERATOR, name="maria", scope="operator")))
PROBLEM = "application/problem+json"


@get("/who")
async def who(request: Request[Caller, None, None]) -> str:
    return request.user.name


@get("/admin", guards=[operators_only])
async def admin() -> str:
    return "done"


@post("/say")
async def say(data: JSONBody[dict[str, str]]) -> str:
    return data["word"]


@get("/open")
async def free() -> str:
    return "free"


def app(settings: Settings) -> Litestar:
    made = Litestar([who, admin, free, say], exception_handlers=EXCEPTION_HANDLERS, openapi_config=None)
    made.asgi_handler = Entrance(made.asgi_handler, settings=settings, public={"/open"}, limits=Limits(Counters(settings)), meters=Meters())
    return made


def ask(path: str, *, settings: Settings = KEYED, method: str = "GET", headers: dict[str, str] | None = None) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app(settings)), base_url="http://api") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(asked())


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {READER}"}, {"authorization": f"bearer {READER}"}, {"X-API-Key": READER}])
def test_a_key_is_taken_from_either_header(headers: dict[str, str]) -> None:
    answer = ask("/who", headers=headers)
    assert (answer.status_code, answer.text) == (200, "shop")


@pytest.mark.parametrize("path", ["/who", "/admin", "/nowhere", "/open/", "/who?limit=x"])
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": drawn()}, {"Authorization": f"Basic {READER}"}, {"Authorization": "Bearer"}])
def test_strangers_are_told_the_same_everywhere(path: str, headers: dict[str, str]) -> None:
    answer, other = ask(path, headers=headers), ask("/elsewhere")
    assert (answer.status_code, answer.headers["Content-Type"], answer.headers["WWW-Authenticate"]) == (401, PROBLEM, "Bearer")
    assert answer.content == other.content


def test_what_is_public_needs_no_key() -> None:
    assert ask("/open").status_code == 200
    assert ask("/open", headers={"X-API-Key": drawn()}).status_code == 200


def test_only_operators_may_do_what_is_theirs() -> None:
    refused, done = ask("/admin", headers={"X-API-Key": READER}), ask("/admin", headers={"X-API-Key": OPERATOR})
    assert (refused.status_code, refused.headers["Content-Type"]) == (403, PROBLEM)
    assert (done.status_code, done.text) == (200, "done")


def test_without_keys_everybody_is_an_operator() -> None:
    assert ask("/who", settings=Settings()).text == "loopback"
    assert ask("/admin", settings=Settings()).status_code == 200


@pytest.mark.parametrize("path", ["/who", "/nowhere", "/admin"])
def test_every_answer_carries_the_security_headers_and_the_requests_id(path: str) -> None:
    mine = ask(path, headers={"X-API-Key": READER, "X-Request-Id": "abc.1"})
    ours = ask(path, headers={"X-Request-Id": "no spaces, please"})
    for answer in (mine, ours):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert mine.headers["X-Request-Id"] == "abc.1"
    assert " " not in ours.headers["X-Request-Id"]


def test_head_is_get_without_the_body() -> None:
    whole, head = ask("/open"), ask("/open", method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"] == "4"


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 204), ("POST", 405)])
def test_a_path_tells_every_method_that_it_takes(method: str, status: int) -> None:
    answer = ask("/open", method=method)
    assert answer.status_code == status
    assert {each.strip() for each in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}


def test_a_body_that_does_not_come_holds_no_request_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "BODY_S", 0.05)
    statuses: list[int] = []

    async def dawdling() -> AsyncIterator[bytes]:
        yield b'{"word": '
        await asyncio.sleep(5)
        yield b'"late"}'

    async def asked() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app(Settings())), base_url="http://api") as client:
            whole = await client.post("/say", json={"word": "here"})
            late = await client.post("/say", content=dawdling(), headers={"Content-Type": "application/json"})
            statuses.extend([whole.status_code, late.status_code])
            assert late.headers["Content-Type"] == PROBLEM

    asyncio.run(asyncio.wait_for(asked(), 4))
    assert statuses == [201, 408]
