"""The client that programs use, on the real app and its stores: each of its calls, and what it does when the API cannot."""

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from msgspec.structs import replace

from retrieval import client
from retrieval.app import create_app
from retrieval.keys import drawn, entry_of
from retrieval.routes import HANDLERS
from stores.settings import Settings
from tests.integration.test_erasure import KEY
from tests.integration.test_feedback import event
from tests.seeding import NOW, records, release, seed


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def seeded(settings: Settings) -> Settings:
    """Full stores, release 1, and a key for erasures."""
    clocked = replace(settings, clock_at=NOW, erasure_key=KEY)
    seed(clocked, records())
    release(clocked, 1)
    return clocked


@asynccontextmanager
async def connected(settings: Settings, *, key: str = "") -> AsyncIterator[client.AsyncClient]:
    app = create_app(settings)
    async with app.lifespan(), client.AsyncClient("http://api", key=key, transport=httpx.ASGITransport(app)) as api:
        yield api


@pytest.mark.anyio
async def test_every_call_is_answered_with_its_type(seeded: Settings) -> None:
    async with connected(seeded) as api:
        first = await api.send(client.recommendations("u_001", limit=2))
        second = await api.send(client.recommendations("u_001", limit=2))
        explained = await api.send(client.explained("u_001"))
        many = await api.send(client.bulk(["u_001", "no id"], limit=2))
        posted = await api.send(client.events([event("u_001", "dismissal", "c_101"), {"user_id": "u_001"}]))
        after = await api.send(client.recommendations("u_001"))
        releases, live, ready = [await api.send(call) for call in (client.releases(), client.live(), client.ready())]
        export = await api.send(client.export("u_001"))
        asked = await api.send(client.forget("u_001"))
        erasure = await api.send(client.erasure("u_001"))
    assert (first.cache, first.release, first.degraded, first.value.retrieval_source) == ("miss", 1, (), "computed")
    assert (second.cache, second.value.recommendations) == ("hit", first.value.recommendations)
    assert explained.value.recommendations[0].places
    assert many.value.answers[0].recommendations == first.value.recommendations
    assert many.value.answers[1].problem is not None
    assert [each.status for each in posted.value.events] == ["accepted", "rejected"]
    assert "c_101" not in {each.campaign_id for each in after.value.recommendations}
    assert [each.number for each in releases.value.releases] == [1]
    assert (live.value.status, ready.value.status) == ("alive", "ready")
    assert [each.campaign_id for each in export.value.posted] == ["c_101"]
    assert asked.value == erasure.value
    assert asked.value.status == "requested"


def test_there_is_a_call_for_every_route() -> None:
    calls = [
        client.recommendations("{user_id}"),
        client.why_not("{user_id}", "{campaign_id}"),
        client.bulk([]),
        client.events([]),
        client.forget("{user_id}"),
        client.erasure("{user_id}"),
        client.export("{user_id}"),
        client.releases(),
        client.live(),
        client.ready(),
    ]
    routes = {(method, path) for handler in HANDLERS for method in handler.http_methods for path in handler.paths}
    for_programs = {(method, path.replace(":str}", "}")) for method, path in routes if path.startswith(FOR_PROGRAMS)}
    assert {(call.method, call.path) for call in calls} == for_programs


FOR_PROGRAMS = ("/recommendations", "/events", "/users", "/releases", "/health")


@pytest.mark.anyio
async def test_a_key_is_shown_and_a_refusal_is_an_error_with_its_problem(seeded: Settings) -> None:
    key = drawn()
    locked = replace(seeded, api_keys=(entry_of(key, name="shop", scope="read"),))
    async with connected(locked, key=key) as api:
        answer = await api.send(client.recommendations("u_001"))
        with pytest.raises(client.Refused, match="403 Forbidden") as forbidden:
            await api.send(client.releases())
    async with connected(locked) as api:
        with pytest.raises(client.Refused, match="401 Unauthorized"):
            await api.send(client.recommendations("u_001"))
    assert answer.value.recommendations
    assert forbidden.value.problem.status == 403


# Trouble: a server that answers as it is told


class Scripted(BaseHTTPRequestHandler):
    answers: list[tuple[int, dict[str, str], object]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Scripted.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


BODY = {"user_id": "u", "recommendations": [], "retrieval_source": "cache"}
BUSY = {"title": "Service Unavailable", "status": 503, "store": "neo4j"}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("retrieval.client.time.sleep", slept.append)
    return slept


def test_what_passes_is_tried_again_after_the_time_that_was_asked_for(server: ThreadingHTTPServer, pauses: list[float]) -> None:
    Scripted.answers = [(503, {"Retry-After": "2"}, BUSY), (429, {}, BUSY), (200, {"X-Cache": "stale", "X-Degraded": "neo4j, redis"}, BODY)]
    with client.Client(url_of(server)) as api:
        answer = api.send(client.recommendations("u"))
    assert (answer.cache, answer.degraded) == ("stale", ("neo4j", "redis"))
    assert Scripted.asked == ["/recommendations/u?limit=10"] * 3
    assert pauses[:2] == [0.0, 2.0]
    assert 0 < pauses[2] < 1


def test_it_gives_up_after_its_tries_and_says_what_the_api_said(server: ThreadingHTTPServer, pauses: list[float]) -> None:
    Scripted.answers = [(503, {"Retry-After": "1"}, BUSY)]
    with client.Client(url_of(server), retries=2) as api, pytest.raises(client.Refused) as refused:
        api.send(client.recommendations("u"))
    assert (len(Scripted.asked), refused.value.problem.store, pauses) == (3, "neo4j", [0.0, 1.0, 1.0])


def test_what_will_not_change_is_not_tried_again(server: ThreadingHTTPServer, pauses: list[float]) -> None:
    Scripted.answers = [(400, {}, {"title": "Bad Request", "status": 400}), (200, {}, BODY)]
    with client.Client(url_of(server)) as api, pytest.raises(client.Refused):
        api.send(client.recommendations("u"))
    assert len(Scripted.asked) == 1


def test_a_server_that_is_not_there_is_unreachable(pauses: list[float]) -> None:
    with client.Client("http://127.0.0.1:9", retries=1) as api, pytest.raises(client.Unreachable):
        api.send(client.live())
    assert len(pauses) == 2
