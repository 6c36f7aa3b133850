"""A customer's recommendations from the stores: from the cache where it holds them, else computed, as sound as can be had.

What is answered when a store does not answer (`X-Degraded` names it; such answers are never cached):

| down               | answer                                                                                            |
|--------------------|---------------------------------------------------------------------------------------------------|
| Redis              | computed, not cached; the release is asked of MongoDB, at most once a second                      |
| Milvus             | computed from the graph, the customer's own history and engagement, without similar customers     |
| Neo4j              | what the cache held under an older release, if nothing was heard of the customer since; else 503: |
|                    | nobody knows what they dismissed or already have, nor whether they are known at all               |
| MongoDB            | nothing changes while Redis knows the release in memory; else the release in memory, degraded     |
| SQL                | the same: its catalogue is in memory, and only a new release makes it read again                  |
| before any release | 503 "no release yet"; the same stores down before one was ever loaded: 503 naming the store       |

An answer from an older release is checked against the rules of this moment before it is given.

A customer who is being forgotten is answered like one never heard of, whatever the stores still hold. Redis says so with
the customer's epoch; where it has none, MongoDB is asked, at most once a second, while the other stores are.
"""

import asyncio
import logging
from typing import Literal

import msgspec
from msgspec import Struct

from ranking.recommend import Customer, Recommended, Tuning, recommend
from retrieval.erasing import Erasing
from retrieval.flights import Flights
from retrieval.generation import Generation, Generations
from retrieval.problems import Overdue
from retrieval.schemas import (
    ExplainedRecommendation,
    ExplainedRecommendations,
    Recommendation,
    Recommendations,
    RetrievalSource,
    SourcePlace,
)
from stores.cache import ERASED, CacheReader, CacheView, Entry
from stores.errors import StoreError
from stores.evidence import CAMPAIGNS_EACH, Neighbour
from stores.graph import GraphReader
from stores.settings import Settings
from stores.vectors import Vector, VectorsReader

UNKNOWN_TTL_S = 60
"""Anybody can make up ids of unknown customers: their answers leave the cache soon."""

CacheStatus = Literal["hit", "miss", "stale", "bypass"]

log = logging.getLogger("retrieval")


class Answer(Struct, frozen=True, kw_only=True):
    """A body ready to be sent, the release that it was made from, how the cache took part, and which stores it had to do without."""

    body: bytes
    release: int
    cache: CacheStatus
    missing: tuple[str, ...] = ()


class Computed(Struct, frozen=True, kw_only=True):
    """A ranking and what it was made from."""

    generation: Generation
    customer: Customer
    ranking: list[Recommended]
    missing: tuple[str, ...]
    erased: bool = False


class Recommender:
    """Answers for customers. Every call ends within `answer_timeout_s` and a few cache timeouts."""

    def __init__(
        self,
        *,
        cache: CacheReader,
        vectors: VectorsReader,
        graph: GraphReader,
        generations: Generations,
        erasing: Erasing,
        settings: Settings,
        tuning: Tuning,
    ) -> None:
        self._cache = cache
        self._erasing = erasing
        self._vectors = vectors
        self._graph = graph
        self._generations = generations
        self._settings = settings
        self._tuning = tuning
        self._turns = asyncio.Semaphore(settings.max_concurrent_answers)
        self._flights: Flights[Answer] = Flights()

    async def answer(self, user_id: str, *, limit: int) -> Answer:
        """The customer's `limit` best campaigns.

        Raises:
            NoRelease: nothing was ever released.
            StoreError: a store does not answer, nothing sound can be said without it, and the cache holds nothing either.
            Overdue: it took too long.
        """
        query = str(limit)
        view = await self._view(user_id, query)
        if (hit := self._fresh(view)) is not None:
            return hit
        key = (user_id, query, view and (view.release, view.epoch))
        try:
            return await self._flights.join(key, lambda: self._fly(user_id, limit, view))
        except (StoreError, Overdue) as exc:
            if view is None or view.entry is None or view.entry.epoch != view.epoch:
                raise
            log.warning("%s: an older answer is given", exc)
            return self._stale(view.entry, exc)

    async def explain(self, user_id: str, *, limit: int) -> Answer:
        """The same ranking with all of its evidence, computed anew and not cached. Raises what `answer` raises."""
        view = await self._view(user_id, str(limit))
        computed = await self._compute(user_id, limit, view)
        body = msgspec.json.encode(explained(computed))
        return Answer(body=body, release=computed.generation.release.number, cache="bypass", missing=computed.missing)

    async def close(self) -> None:
        await self._flights.close()

    async def _view(self, user_id: str, query: str) -> CacheView | None:
        """What the cache holds, or None where it does not answer: then nothing is cached either."""
        try:
            return await self._cache.read(user_id, query)
        except StoreError as exc:
            log.info("the cache is passed by: %s", exc)
            return None

    def _fresh(self, view: CacheView | None) -> Answer | None:
        """The cached answer, if it is the one that would be computed now. A Redis older than the release in memory is not believed."""
        held = self._generations.held
        if view is None or view.entry is None or not view.fresh or (held is not None and view.entry.release < held.release.number):
            return None
        return Answer(body=view.entry.body, release=view.entry.release, cache="hit")

    def _stale(self, entry: Entry, exc: StoreError | Overdue) -> Answer:
        """An older answer without what may no longer be offered at this moment."""
        body, held = entry.body, self._generations.held
        if held is not None:
            old = msgspec.json.decode(body, type=Recommendations)
            offered = self._generations.as_of_now(held).lineup.offered
            kept = [each for each in old.recommendations if each.campaign_id in offered]
            body = msgspec.json.encode(msgspec.structs.replace(old, recommendations=kept))
        return Answer(body=body, release=entry.release, cache="stale", missing=(exc.store,) if isinstance(exc, StoreError) else ())

    async def _fly(self, user_id: str, limit: int, view: CacheView | None) -> Answer:
        """Computes one answer for everybody who waits for it, and caches it."""
        if view is not None:
            # Whoever read the cache before the last flight landed comes here after it: the answer may be there by now.
            view = await self._view(user_id, str(limit))
            if (hit := self._fresh(view)) is not None:
                return hit
        computed = await self._compute(user_id, limit, view)
        if view is not None and not computed.missing:
            await self._keep(user_id, limit, view, computed)
        return Answer(
            body=msgspec.json.encode(shown(computed, "computed")),
            release=computed.generation.release.number,
            cache="bypass" if view is None else "miss",
            missing=computed.missing,
        )

    async def _compute(self, user_id: str, limit: int, view: CacheView | None) -> Computed:
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s), self._turns:
                generation = await self._generations.current((view.release or 0) if view else None)
                erased, customer, missing = await self._customer_unless_erased(user_id, generation, view)
        except TimeoutError:
            raise Overdue(f"no answer within {self._settings.answer_timeout_s} s") from None
        ranking = recommend(customer, generation.lineup, limit=limit, tuning=self._tuning)
        missing = (*generation.missing, *missing)
        return Computed(generation=generation, customer=customer, ranking=ranking, missing=missing, erased=erased)

    async def _customer_unless_erased(
        self, user_id: str, generation: Generation, view: CacheView | None
    ) -> tuple[bool, Customer, tuple[str, ...]]:
        """Whether the customer is being forgotten; what the stores say of them, else; and the names of those that said nothing."""
        nobody = (True, Customer(user_id=user_id, known=False), ())
        if view is not None and view.erased:
            return nobody
        if view is not None and view.epoch:
            return (False, *await self._customer(user_id, generation))
        found, erased = await asyncio.gather(self._customer(user_id, generation), self._erasing.includes(user_id))
        if not erased:
            return (False, *found)
        if view is not None:
            await self._suppress(user_id)
        return nobody

    async def _suppress(self, user_id: str) -> None:
        """Gives Redis back that a customer is being forgotten."""
        try:
            await self._cache.suppress(user_id)
        except StoreError as exc:
            log.info("Redis was not told that a customer is being forgotten: %s", exc)

    async def _customer(self, user_id: str, generation: Generation) -> tuple[Customer, tuple[str, ...]]:
        """What the stores say of a customer, and the names of those that said nothing. Without Neo4j there is nothing to say."""
        missing: tuple[str, ...] = ()
        vector, neighbours = None, list[Neighbour]()
        try:
            vector, neighbours = await self._neighbours(user_id, generation.release.user_vectors)
        except StoreError as exc:
            log.warning("no similar customers: %s", exc)
            missing = (exc.store,)
        around = await self._graph.around(user_id, [near.user_id for near in neighbours], limit=CAMPAIGNS_EACH)
        known = around.known or vector is not None
        return Customer(user_id=user_id, known=known, vector=vector, neighbours=neighbours, surroundings=around), missing

    async def _neighbours(self, user_id: str, collection: str) -> tuple[Vector | None, list[Neighbour]]:
        """The customer's vector, where there is one, and the customers nearest to it, without the customer."""
        vector = await self._vectors.user_vector(collection, user_id)
        if vector is None:
            return None, []
        nearest = await self._vectors.similar_users(collection, vector, limit=self._settings.neighbours + 1)
        return vector, [near for near in nearest if near.user_id != user_id][: self._settings.neighbours]

    async def _keep(self, user_id: str, limit: int, view: CacheView, computed: Computed) -> None:
        """Caches an answer until the rules change by themselves, under the release and epoch that were read before computing."""
        ttl_s: float = self._settings.cache_ttl_s if computed.customer.known else min(UNKNOWN_TTL_S, self._settings.cache_ttl_s)
        if (until_ms := computed.generation.lineup.until_ms) is not None:
            ttl_s = min(ttl_s, (until_ms - self._settings.now_ms) / 1000)
        body = msgspec.json.encode(shown(computed, "cache"))
        epoch = ERASED if computed.erased else view.epoch
        entry = Entry(release=computed.generation.release.number, epoch=epoch, body=body)
        try:
            await self._cache.write(user_id, str(limit), entry, ttl_s=ttl_s)
        except StoreError as exc:
            log.info("an answer was not cached: %s", exc)


def shown(computed: Computed, source: RetrievalSource) -> Recommendations:
    """The ranking as the API shows it."""
    ranking = [Recommendation(campaign_id=each.campaign_id, ranking_score=each.score, reason=each.reason) for each in computed.ranking]
    return Recommendations(user_id=computed.customer.user_id, recommendations=ranking, retrieval_source=source)


def explained(computed: Computed) -> ExplainedRecommendations:
    """The ranking with the evidence behind each place."""
    ranking = [
        ExplainedRecommendation(
            campaign_id=each.campaign_id,
            ranking_score=each.score,
            reason=each.reason,
            places=[msgspec.convert(place, SourcePlace, from_attributes=True) for place in each.places],
        )
        for each in computed.ranking
    ]
    customer = computed.customer
    return ExplainedRecommendations(user_id=customer.user_id, known=customer.known, recommendations=ranking, retrieval_source="computed")
