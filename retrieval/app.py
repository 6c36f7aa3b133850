"""The reading door: the Litestar app, and the stores that it opens and closes."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.logging import LoggingConfig
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from msgspec import Struct

from ranking.recommend import Tuning
from retrieval.bulk import Bulk, SharedGraph, SharedVectors, patient
from retrieval.entrance import Entrance
from retrieval.erasing import Erasing
from retrieval.feedback import Feedback
from retrieval.generation import Generations
from retrieval.health import Probes
from retrieval.keys import Keys
from retrieval.operators import Operators
from retrieval.problems import EXCEPTION_HANDLERS, NoRelease, Overdue
from retrieval.recommend import Recommender
from retrieval.routes import HANDLERS, PUBLIC
from stores.cache import CacheReader
from stores.documents import DocumentsReader
from stores.errors import Unavailable
from stores.graph import GraphReader
from stores.metrics import Metrics
from stores.settings import BadSetting, Settings, load_settings
from stores.sql import open_engine
from stores.vectors import VectorsReader

EXPECTED: set[int | type[Exception]] = {400, 401, 403, 404, 405, 413, BadSetting, NoRelease, Overdue, Unavailable}
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


def create_app(settings: Settings | None = None) -> Litestar:
    """The API. Settings come from the environment unless they are given; no store needs to be up for this."""
    settings = settings or load_settings(os.environ)

    @asynccontextmanager
    async def stores(app: Litestar) -> AsyncIterator[None]:
        async with opened(settings) as service:
            app.state.service = service
            yield

    app = Litestar(
        HANDLERS,
        lifespan=[stores],
        dependencies={name: provided(name) for name in Service.__struct_fields__},
        exception_handlers=EXCEPTION_HANDLERS,
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
    app.asgi_handler = Entrance(app.asgi_handler, keys=Keys(settings), public=public_paths(HANDLERS))
    return app


def public_paths(handlers: Iterable[HTTPRouteHandler]) -> set[str]:
    """The paths that need no key: those of the handlers that say so."""
    return {path for handler in handlers if handler.opt.get(PUBLIC) for path in handler.paths}


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Service]:
    """Everything that answers are made with, closed in order at the end."""
    tuning = Tuning(fusion_k=settings.fusion_k, rate_prior_exposures=settings.rate_prior_exposures)
    cache, documents, vectors, graph = CacheReader(settings), DocumentsReader(settings), VectorsReader(settings), GraphReader(settings)
    metrics = Metrics(open_engine(settings))
    generations = Generations(documents=documents, cache=cache, metrics=metrics, settings=settings, tuning=tuning)
    erasing = Erasing(documents)
    feedback = Feedback(postings=documents.postings, cache=cache, max_record_bytes=settings.max_record_bytes)
    recommender = Recommender(
        cache=cache,
        vectors=vectors,
        graph=graph,
        generations=generations,
        erasing=erasing,
        feedback=feedback,
        settings=settings,
        tuning=tuning,
    )

    in_bulk = patient(settings)
    shared_vectors, shared_graph = SharedVectors(VectorsReader(in_bulk)), SharedGraph(GraphReader(in_bulk))
    bulk = Bulk(
        Recommender(
            cache=cache,
            vectors=shared_vectors,
            graph=shared_graph,
            generations=generations,
            erasing=erasing,
            feedback=feedback,
            settings=in_bulk,
            tuning=tuning,
            leases=False,
        )
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
        yield Service(recommender=recommender, probes=probes, feedback=feedback, bulk=bulk, operators=Operators(settings))
    finally:
        await recommender.close()
        await bulk.close()
        await generations.close()
        await erasing.close()
        await feedback.close()
        for store in (cache, vectors, graph, shared_vectors, shared_graph, documents):
            await store.close()
        metrics.close()


async def warmed(probes: Probes) -> str:
    """The stores' state, after what is up was connected to and asked: a first question takes a store longer than it may in an answer."""
    for _ in range(START_TRIES):
        if (health := await probes.health()).status == "ready":
            break
    return health.status


def provided(name: str) -> Callable[[State], Awaitable[object]]:
    """What gives handlers one part of the service, by its name."""

    async def part(state: State) -> object:
        found: object = getattr(state.service, name)
        return found

    return part
