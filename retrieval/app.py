"""The reading door: the Litestar app, and the stores that it opens and closes."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
from litestar import Litestar
from litestar.datastructures import MutableScopeHeaders, State
from litestar.logging import LoggingConfig
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Message, Scope

from ranking.recommend import Tuning
from retrieval.erasing import Erasing
from retrieval.generation import Generations
from retrieval.health import Probes
from retrieval.problems import EXCEPTION_HANDLERS, NoRelease, Overdue
from retrieval.recommend import Recommender
from retrieval.routes import HANDLERS
from stores.cache import CacheReader
from stores.documents import DocumentsReader
from stores.errors import Unavailable
from stores.graph import GraphReader
from stores.metrics import Metrics
from stores.settings import Settings, load_settings
from stores.sql import open_engine
from stores.vectors import VectorsReader

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
EXPECTED: set[int | type[Exception]] = {400, 404, 405, NoRelease, Overdue, Unavailable}
"""What is answered in good order: no traceback is logged for these."""
START_TRIES = 3
NOBODY = "nobody"

log = logging.getLogger("retrieval")


def create_app(settings: Settings | None = None) -> Litestar:
    """The API. Settings come from the environment unless they are given; no store needs to be up for this."""
    settings = settings or load_settings(os.environ)

    @asynccontextmanager
    async def stores(app: Litestar) -> AsyncIterator[None]:
        async with opened(settings) as (recommender, probes):
            app.state.recommender, app.state.probes = recommender, probes
            yield

    return Litestar(
        HANDLERS,
        lifespan=[stores],
        dependencies={"recommender": provided_recommender, "probes": provided_probes},
        exception_handlers=EXCEPTION_HANDLERS,
        before_send=[secured],
        logging_config=LoggingConfig(
            root={"level": "WARNING", "handlers": ["queue_listener"]},
            loggers={"retrieval": {"level": "INFO", "handlers": ["queue_listener"], "propagate": False}},
            log_exceptions="always",
            disable_stack_trace=EXPECTED,
        ),
        openapi_config=OpenAPIConfig(
            title="Campaign Platform",
            version="0.1.0",
            description="Ranked campaigns for each customer, with reasons.",
            path="/docs",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Recommender, Probes]]:
    """Everything that answers are made with, closed in order at the end."""
    tuning = msgspec.convert(settings, Tuning, from_attributes=True)
    cache, documents, vectors, graph = CacheReader(settings), DocumentsReader(settings), VectorsReader(settings), GraphReader(settings)
    metrics = Metrics(open_engine(settings))
    generations = Generations(documents=documents, cache=cache, metrics=metrics, vectors=vectors, settings=settings, tuning=tuning)
    erasing = Erasing(documents)
    recommender = Recommender(
        cache=cache, vectors=vectors, graph=graph, generations=generations, erasing=erasing, settings=settings, tuning=tuning
    )

    async def ask_graph() -> None:
        await graph.around(NOBODY, [], limit=1)

    pings: dict[str, Callable[[], Awaitable[None]]] = {
        "mongodb": documents.ping,
        "milvus": vectors.ping,
        "neo4j": ask_graph,  # the very question that answers need: the server plans it once, which takes a while
        "redis": cache.ping,
        "sql": lambda: asyncio.to_thread(metrics.ping),
    }
    probes = Probes(pings, generations=generations, timeout_s=settings.read_timeout_s)
    try:
        log.info("stores at start: %s", await warmed(probes))
        yield recommender, probes
    finally:
        await recommender.close()
        await generations.close()
        await erasing.close()
        for store in (cache, vectors, graph, documents):
            await store.close()
        metrics.close()


async def warmed(probes: Probes) -> str:
    """The stores' state, after what is up was connected to and asked: a first question takes a store longer than it may in an answer."""
    for _ in range(START_TRIES):
        if (health := await probes.health()).status == "ready":
            break
    return health.status


async def provided_recommender(state: State) -> Recommender:
    found: Recommender = state.recommender
    return found


async def provided_probes(state: State) -> Probes:
    found: Probes = state.probes
    return found


async def secured(message: Message, _: Scope) -> None:
    """Adds the security headers to every response, errors among them."""
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
