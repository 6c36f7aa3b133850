"""What the API counts and times. No label holds an id of a customer, the name of a key or an address."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest

from retrieval.answers import Answer
from retrieval.series import Counts, Times
from retrieval.tracing import Span, Tracing
from stores.errors import StoreError
from stores.records import Release

StageName = Literal["turn", "cache", "release", "erasing", "posted", "vector", "similar", "around", "ranking"]
STORE_OF: dict[StageName, str] = {
    "cache": "redis",
    "release": "mongodb",
    "erasing": "mongodb",
    "posted": "mongodb",
    "vector": "milvus",
    "similar": "milvus",
    "around": "neo4j",
}
"""The store that a stage waits for; the others are this process' own."""


class Meters:
    """One app's measures, in a registry of its own."""

    def __init__(self, tracing: Tracing | None = None) -> None:
        self._tracing = tracing
        self.requests = Counts("campaigns_requests", "Requests, by route and result", ["method", "route", "status"])
        self.request_times = Times("campaigns_request_seconds", "From request to answer", ["route"])
        self.answers = Counts("campaigns_answers", "Answers for one customer, by the cache's part in them", ["cache"])
        self.degraded = Counts("campaigns_degraded_answers", "Answers given without a store", ["store"])
        self.stage_times = Times("campaigns_stage_seconds", "Stages of an answer, and the store each waits for", ["stage", "store"])
        self.failures = Counts("campaigns_store_failures", "Stages in which a store did not answer, or not soundly", ["store"])
        self.limited = Counts("campaigns_rate_limited", "Requests refused because a key or an address asks too often", ["by"])
        self.shed = Counts("campaigns_shed", "Computations refused because too many wait already")
        self._registry = CollectorRegistry()
        for series in (
            self.requests,
            self.request_times,
            self.answers,
            self.degraded,
            self.stage_times,
            self.failures,
            self.limited,
            self.shed,
        ):
            self._registry.register(series)
        ProcessCollector(registry=self._registry)
        self.computing = Gauge("campaigns_computing", "Computations under way", registry=self._registry)
        self.waiting = Gauge("campaigns_waiting", "Computations that wait for their turn", registry=self._registry)

    def stage(self, name: StageName) -> "Stage":
        """Times what is done within it, and counts where the store failed."""
        return Stage(self, name, self._tracing.span(name) if self._tracing else None)

    def answered(self, answer: Answer) -> None:
        """Counts one answer for one customer."""
        self.answers.add(answer.cache)
        for store in dict.fromkeys(answer.missing):
            self.degraded.add(store)

    def follow(self, release: Callable[[], Release | None]) -> None:
        """Shows the release that answers are made from, asked for whenever the measures are."""
        number = Gauge("campaigns_release", "Number of the release in memory, 0 before the first", registry=self._registry)
        number.set_function(lambda: held.number if (held := release()) else 0)
        age = Gauge("campaigns_release_age_seconds", "Time since that release was published, 0 before the first", registry=self._registry)
        age.set_function(lambda: time.time() - held.released_at_ms / 1000 if (held := release()) else 0)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class Stage:
    """One stage of one answer, as a context."""

    __slots__ = ("_meters", "_name", "_span", "_started_s")

    def __init__(self, meters: Meters, name: StageName, span: Span | None) -> None:
        self._meters, self._name, self._span = meters, name, span

    def __enter__(self) -> Self:
        if self._span is not None:
            self._span.__enter__()
        self._started_s = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._meters.stage_times.add(time.perf_counter() - self._started_s, self._name, STORE_OF.get(self._name, ""))
        if isinstance(exc, StoreError):
            self._meters.failures.add(exc.store)
        if self._span is not None:
            self._span.__exit__(kind, exc, trace)
