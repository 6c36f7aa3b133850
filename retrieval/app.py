"""The reading door: the Litestar app, and the stores that it opens and closes."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.routes import HTTPRoute
from msgspec import Struct

from ranking.recommend import Tuning
from retrieval.bulk import Bulk, patient
from retrieval.documented import openapi_config
from retrieval.entrance import PUBLIC, Entrance
from retrieval.erasing import Erasing
from retrieval.feedback import Feedback
from retrieval.generation import Generations
from retrieval.health import Probes
from retrieval.limits import Limits
from retrieval.logs import logging_config
from retrieval.meters import Meters
from retrieval.operators import Operators
from retrieval.problems import EXCEPTION_HANDLERS, NoRelease, Overdue, Overloaded, SlowBody, UnknownCampaign
from retrieval.question import policy_of
from retrieval.recommend import Recommender
from retrieval.routes import HANDLERS
from retrieval.shared import SharedGraph, SharedVectors
from retrieval.shortcut import Shortcut
from retrieval.tracing import Tracing
from stores.cache import CacheReader
from stores.counters import Counters
from stores.documents import DocumentsReader
from stores.errors import Unavailable
from stores.graph import GraphReader
from stores.metrics import Metrics
from stores.settings import BadSetting, Settings, load_settings
from stores.sql import open_engine
from stores.vectors import VectorsReader

EXPECTED: set[int | type[Exception]] = {
    *(400, 403, 404, 405, 413, 415),
    *(BadSetting, NoRelease, Overdue, Overloaded, SlowBody, Unavailable, UnknownCampaign),
}
"""What is answered in good order: no traceback is logged for these."""
START_TRIES = 3
NOBODY = "nobody"

log = logging.getLogger("retrieval")


class Service(Struct, frozen=True, kw_only=True):
    """What handlers work with, each by its name here."""

    recommender: Recommender
    probes: Probes
    feedback: Feedback
    bulk: Bulk
    operators: Operators
    meters: Meters


def create_app(settings: Settings | None = None) -> Litestar:
    """The API. Settings come from the environment unless they are given; no store needs to be up for this."""
    settings = settings or load_settings(os.environ)
    policy_of(settings)  # a group without its secret is said at once, not to the first customer
    tracing = Tracing(settings) if settings.otlp_url else None
    meters, limits = Meters(tracing), Limits(Counters(settings))

    @asynccontextmanager
    async def stores(app: Litestar) -> AsyncIterator[None]:
        async with opened(settings, meters) as service:
            app.state.update({name: getattr(service, name) for name in Service.__struct_fields__})
            yield
        await limits.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    app = Litestar(
        HANDLERS,
        lifespan=[stores],
        dependencies={name: provided(name) for name in Service.__struct_fields__},
        exception_handlers=EXCEPTION_HANDLERS,
        logging_config=logging_config(settings, expected=EXPECTED),
        openapi_config=openapi_config(),
    )
    shortcut = Shortcut(app.asgi_handler, lambda: app.state.recommender)
    app.asgi_handler = Entrance(shortcut, settings=settings, public=public_paths(app), limits=limits, meters=meters, tracing=tracing)
    return app


def public_paths(app: Litestar) -> set[str]:
    """The paths that need no key: those whose handlers all say so, beside the one that Litestar adds for OPTIONS."""
    handlers = {route.path_format: route.route_handlers for route in app.routes if isinstance(route, HTTPRoute)}
    return {path for path, own in handlers.items() if all(each.opt.get(PUBLIC) for each in own if each.http_methods != {"OPTIONS"})}


@asynccontextmanager
async def opened(settings: Settings, meters: Meters) -> AsyncIterator[Service]:
    """Everything that answers are made with, closed in order at the end."""
    tuning = msgspec.structs.replace(msgspec.convert(settings, Tuning, from_attributes=True), policy=policy_of(settings))
    cache, documents, vectors, graph = CacheReader(settings), DocumentsReader(settings), VectorsReader(settings), GraphReader(settings)
    metrics = Metrics(open_engine(settings))
    generations = Generations(documents=documents, cache=cache, metrics=metrics, vectors=vectors, settings=settings, tuning=tuning)
    erasing = Erasing(documents)
    feedback = Feedback(postings=documents.postings, cache=cache, max_record_bytes=settings.max_record_bytes)
    made_of = partial(Recommender, cache=cache, generations=generations, erasing=erasing, feedback=feedback, meters=meters)
    shared_vectors, shared_graph = SharedVectors(vectors), SharedGraph(graph)
    recommender = made_of(vectors=shared_vectors, graph=shared_graph, settings=settings)
    in_bulk = patient(settings)
    bulk_vectors, bulk_graph = SharedVectors(VectorsReader(in_bulk)), SharedGraph(GraphReader(in_bulk))
    bulk = Bulk(made_of(vectors=bulk_vectors, graph=bulk_graph, settings=in_bulk, leases=False), meters)
    meters.follow(lambda: generations.held.release if generations.held else None)

    async def ask_graph() -> None:
        await graph.around(NOBODY, [], limit=1)
        await graph.around_several({NOBODY: [NOBODY]}, limit=1)

    pings: dict[str, Callable[[], Awaitable[None]]] = {
        "mongodb": documents.ping,
        "milvus": vectors.ping,
        "neo4j": ask_graph,  # the very questions that answers need: the server plans each once, which takes a while
        "redis": cache.ping,
        "sql": lambda: asyncio.to_thread(metrics.ping),
    }
    probes = Probes(pings, generations=generations, timeout_s=settings.read_timeout_s)
    try:
        log.info("stores at start: %s", await warmed(probes))
        yield Service(recommender=recommender, probes=probes, meters=meters, feedback=feedback, bulk=bulk, operators=Operators(settings))
    finally:
        await probes.close()
        await recommender.close()
        await bulk.close()
        await generations.close()
        await erasing.close()
        await feedback.close()
        for store in (cache, shared_vectors, shared_graph, bulk_vectors, bulk_graph, documents):
            await store.close()
        metrics.close()


async def warmed(probes: Probes) -> str:
    """The stores' state, after what is up was connected to and asked: a first question takes a store longer than it may in an answer."""
    for _ in range(START_TRIES):
        if (health := await probes.health()).status == "ready":
            break
    return health.status


def provided(name: str) -> Provide:
    """What the lifespan opened, by its name. Handlers ask for one such thing at most: two would be found by tasks of their own."""

    async def found(state: State) -> object:
        part: object = state[name]
        return part

    return Provide(found)
