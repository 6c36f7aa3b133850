"""A customer's recommendations from the stores: from the cache where it holds them, else computed, as sound as can be had.

What is answered when a store does not answer (`X-Degraded` names it; such answers are never cached):

| down               | answer                                                                                            |
|--------------------|---------------------------------------------------------------------------------------------------|
| Redis              | computed, not cached; the release is asked of MongoDB, at most once a second                      |
| Milvus             | computed from the graph, the customer's own history and engagement, without similar customers     |
| Neo4j              | what the cache held under an older release, if nothing was heard of the customer since; else 503: |
|                    | nobody knows what they dismissed or already have, nor whether they are known at all               |
| MongoDB            | cached answers go on. Computed: the release in memory, degraded, where Redis knows that nothing   |
|                    | was posted of the customer lately; else an older answer since then; else 503, as without Neo4j    |
| SQL                | the release in memory, degraded where a newer one is published: only that makes it read again     |
| too much is asked  | at once: what the cache held under an older release, else 503                                     |
| before any release | 503 "no release yet"; the same stores down before one was ever loaded: 503 naming the store       |

What was posted of a customer since the last refresh counts at once: retrieval.feedback says how.

An answer from an older release is checked against the rules of this moment before it is given: what does not run is left
out, and so is what asks something of the customer, which nobody can tell then.

A customer who is being forgotten is answered like one never heard of, whatever the stores still hold. Redis says so with
the customer's epoch; where it has none, MongoDB is asked, at most once a second, while the other stores are.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ranking.conversations import talks_until_ms
from ranking.eligibility import NO_FILTERS, Filters, Standing, standing, until_ms
from ranking.feedback import with_feedback
from ranking.holdout import held_out
from ranking.recommend import Customer, Recommended, recommend
from retrieval.answers import Answer
from retrieval.erasing import Erasing
from retrieval.explaining import Reveal, explained
from retrieval.feedback import Feedback
from retrieval.flights import Flights
from retrieval.generation import Generation, Generations
from retrieval.meters import Meters
from retrieval.problems import Overdue, Overloaded, UnknownCampaign
from retrieval.question import Question, digest_of, query_of
from retrieval.schemas import Recommendation, Recommendations, RetrievalSource
from retrieval.turns import Turns
from retrieval.why_not import why_not
from stores.cache import ERASED, CacheReader, CacheView, Entry
from stores.errors import StoreError
from stores.evidence import CAMPAIGNS_EACH, Neighbour, Surroundings
from stores.records import Record
from stores.settings import Settings
from stores.vectors import Vector

LOOK_AGAIN_S = 0.02
"""How often an answer is looked for that another process computes."""
UNKNOWN_TTL_S = 60
"""Anybody can make up ids of unknown customers: their answers leave the cache soon."""

EVERYTHING = 2**31
"""As many campaigns as there are."""

log = logging.getLogger("retrieval")


class Computed(Struct, frozen=True, kw_only=True):
    """A ranking and what it was made from."""

    generation: Generation
    customer: Customer
    who: Standing
    ranking: list[Recommended]
    missing: tuple[str, ...]
    erased: bool = False


class Known(Struct, frozen=True, kw_only=True):
    """What an answer is computed from; `missing` names the stores that said nothing of the customer."""

    generation: Generation
    customer: Customer
    missing: tuple[str, ...] = ()
    erased: bool = False
    """Whether the customer is being forgotten."""


class UserVectors(Protocol):
    """What is asked of Milvus."""

    async def user_vector(self, name: str, user_id: str) -> Vector | None: ...

    async def similar_users(self, name: str, vector: Vector, *, limit: int) -> list[Neighbour]: ...


class Around(Protocol):
    """What is asked of Neo4j."""

    async def around(self, user_id: str, neighbour_ids: Sequence[str], *, limit: int) -> Surroundings: ...


class Recommender:
    """Answers for customers. Every call ends within `answer_timeout_s` and a few cache timeouts."""

    def __init__(  # noqa: PLR0913 what answers are made of
        self,
        *,
        cache: CacheReader,
        vectors: UserVectors,
        graph: Around,
        generations: Generations,
        erasing: Erasing,
        feedback: Feedback,
        settings: Settings,
        meters: Meters,
        leases: bool = True,
    ) -> None:
        """`leases`: whether no two processes compute the same answer at the same time, which costs a call of Redis each."""
        self._meters = meters
        self._cache = cache
        self._erasing = erasing
        self._feedback = feedback
        self._leases = leases
        self._vectors = vectors
        self._graph = graph
        self._generations = generations
        self._settings = settings
        self._tuning = generations.tuning
        self._policy = digest_of(self._tuning.policy)
        self._pseudonym_key = settings.pseudonym_key.encode() or secrets.token_bytes(32)
        self._turns = Turns(at_once=settings.max_concurrent_answers, waiting=settings.max_waiting_answers, meters=meters)
        self._flights: Flights[Answer] = Flights()

    def holds_out(self, user_id: str) -> bool:
        """Whether the customer is of the holdout group and gets the control answer."""
        return held_out(user_id, self._tuning.policy)

    async def cached(self, user_id: str, *, limit: int) -> Answer | None:
        """The answer that `answer` would give without filters, where the cache holds it."""
        query = query_of(Question(user_id=user_id, limit=limit), self._policy)
        return self._fresh(await self._view(user_id, query))

    async def answer(self, user_id: str, *, limit: int, filters: Filters = NO_FILTERS) -> Answer:
        """The customer's `limit` best campaigns.

        Raises:
            NoRelease: nothing was ever released.
            StoreError: a store does not answer, nothing sound can be said without it, and the cache holds nothing either.
            Overdue, Overloaded: it took too long, or would, and the cache holds nothing either.
        """
        asked = Question(user_id=user_id, limit=limit, filters=filters)
        query = query_of(asked, self._policy)
        view = await self._view(user_id, query)
        if (hit := self._fresh(view)) is not None:
            return hit
        key = (user_id, query, view and (view.release, view.epoch))
        try:
            return await self._flights.join(key, lambda: self._fly(asked, query, view))
        except (StoreError, Overdue, Overloaded) as exc:
            if view is None or view.entry is None or view.entry.epoch != view.epoch:
                raise
            log.info("%s: an older answer is given", exc)
            return self._stale(view.entry, exc)

    async def explain(self, user_id: str, *, limit: int, filters: Filters = NO_FILTERS, reveal: bool = False) -> Answer:
        """The same ranking with all of its evidence, computed anew and not cached; other customers' ids only with `reveal`.

        Raises what `answer` raises.
        """
        computed = await self._anew(Question(user_id=user_id, limit=limit, filters=filters))
        body = explained(
            computed.customer,
            computed.ranking,
            computed.generation.lineup,
            who=computed.who,
            holdout=self.holds_out(user_id),
            reveal=Reveal(plain=reveal, key=self._pseudonym_key),
        )
        return self._uncached(computed, msgspec.json.encode(body))

    async def why_not(self, user_id: str, campaign_id: str, *, filters: Filters = NO_FILTERS) -> Answer:
        """Where one campaign stands for the customer, or what keeps it from them, computed anew and not cached.

        Raises what `answer` raises, and:
            UnknownCampaign: there is no campaign of this id.
        """
        computed = await self._anew(Question(user_id=user_id, limit=EVERYTHING, filters=filters))
        lineup = computed.generation.lineup
        if campaign_id not in lineup.catalogue.campaigns:
            raise UnknownCampaign(campaign_id)
        body = why_not(campaign_id, computed.customer, computed.ranking, lineup, who=computed.who, holdout=self.holds_out(user_id))
        return self._uncached(computed, msgspec.json.encode(body))

    async def _anew(self, asked: Question) -> Computed:
        view = await self._view(asked.user_id, query_of(asked, self._policy))
        return await self._compute(asked, view, within_s=self._settings.answer_timeout_s)

    def _uncached(self, computed: Computed, body: bytes) -> Answer:
        return Answer(body=body, release=computed.generation.release.number, cache="bypass", missing=computed.missing)

    async def close(self) -> None:
        await self._flights.close()

    async def _view(self, user_id: str, query: str) -> CacheView | None:
        """What the cache holds, or None where it does not answer or may not be believed: then nothing is cached either."""
        if not await self._feedback.redis_knows():
            return None
        try:
            with self._meters.stage("cache"):
                view = await self._cache.read(user_id, query)
        except StoreError as exc:
            log.info("the cache is passed by: %s", exc)
            self._feedback.failed(lost=False)
            return None
        if view.release is None:
            self._feedback.failed(lost=True)
        return view

    def _fresh(self, view: CacheView | None) -> Answer | None:
        """The cached answer, if it is the one that would be computed now. A Redis older than the release in memory is not believed."""
        held = self._generations.held
        if view is None or view.entry is None or not view.fresh or (held is not None and view.entry.release < held.release.number):
            return None
        return Answer(body=view.entry.body, release=view.entry.release, cache="hit")

    def _stale(self, entry: Entry, exc: StoreError | Overdue | Overloaded) -> Answer:
        """An older answer without what may no longer be offered at this moment, and what asks for more than is known now."""
        body, held = entry.body, self._generations.held
        if held is not None:
            old = msgspec.json.decode(body, type=Recommendations)
            lineup = self._generations.as_of_now(held).lineup
            sound = (lineup.offered.keys() | lineup.fallbacks.keys()) - lineup.restricted
            kept = [each for each in old.recommendations if each.campaign_id in sound]
            body = msgspec.json.encode(msgspec.structs.replace(old, recommendations=kept))
        return Answer(body=body, release=entry.release, cache="stale", missing=(exc.store,) if isinstance(exc, StoreError) else ())

    async def _fly(self, asked: Question, query: str, view: CacheView | None) -> Answer:
        """Computes one answer for everybody who waits for it, and caches it; or waits for another process that is at it."""
        user_id, began_s, leased = asked.user_id, time.monotonic(), False
        while view is not None:
            # Whoever read the cache before the last flight landed comes here after it: the answer may be there by now.
            view, leased = await asyncio.gather(self._view(user_id, query), self._lease(user_id, query))
            if (hit := self._fresh(view)) is not None:
                if leased:
                    await self._end_lease(user_id, query)
                return hit
            if leased or time.monotonic() - began_s > self._settings.answer_timeout_s / 2:
                break
            await asyncio.sleep(LOOK_AGAIN_S)
        kept = False
        try:
            computed = await self._compute(asked, view, within_s=self._settings.answer_timeout_s + began_s - time.monotonic())
            if view is not None and not computed.missing:
                kept = await self._keep(user_id, query, view, computed)
        finally:
            if leased and not kept:
                await self._end_lease(user_id, query)
        return Answer(
            body=msgspec.json.encode(shown(computed, "computed")),
            release=computed.generation.release.number,
            cache="bypass" if view is None else "miss",
            missing=computed.missing,
        )

    async def _lease(self, user_id: str, query: str) -> bool:
        """Whether this process computes the answer. Where Redis cannot say, it does."""
        try:
            return not self._leases or await self._cache.lease(user_id, query, ttl_s=self._settings.answer_timeout_s)
        except StoreError:
            return True

    async def _end_lease(self, user_id: str, query: str) -> None:
        """Lets another process compute it at once; else it may when the lease ends by itself."""
        if self._leases:
            with suppress(StoreError):
                await self._cache.end_lease(user_id, query)

    async def _compute(self, asked: Question, view: CacheView | None, *, within_s: float) -> Computed:
        try:
            async with asyncio.timeout(within_s), self._turns:
                known = await self._known(asked.user_id, view)
        except TimeoutError:
            raise Overdue(f"no answer within {self._settings.answer_timeout_s} s") from None
        customer, generation = known.customer, known.generation
        with self._meters.stage("ranking"):
            who = standing(customer.surroundings, now_ms=self._settings.now_ms, filters=asked.filters, policy=self._tuning.policy)
            ranking = recommend(customer, generation.lineup, limit=asked.limit, tuning=self._tuning, who=who)
        missing = (*generation.missing, *known.missing)
        return Computed(generation=generation, customer=customer, who=who, ranking=ranking, missing=missing, erased=known.erased)

    async def _known(self, user_id: str, view: CacheView | None) -> Known:
        """What the stores say. All that is asked of MongoDB is asked at the same time: where it is silent, that is waited for once."""
        nobody = Customer(user_id=user_id, known=False)
        if view is not None and view.erased:
            return Known(generation=await self._generation(view), customer=nobody, erased=True)
        if view is not None and view.epoch:
            return await self._customer(user_id, view)
        known, erased = await asyncio.gather(self._customer(user_id, view), self._is_erased(user_id))
        if not erased:
            return known
        if view is not None:
            await self._suppress(user_id)
        return Known(generation=known.generation, customer=nobody, erased=True)

    async def _generation(self, view: CacheView | None) -> Generation:
        with self._meters.stage("release"):
            return await self._generations.current((view.release or 0) if view else None)

    async def _is_erased(self, user_id: str) -> bool:
        with self._meters.stage("erasing"):
            return await self._erasing.includes(user_id)

    async def _suppress(self, user_id: str) -> None:
        """Gives Redis back that a customer is being forgotten."""
        try:
            await self._cache.suppress(user_id)
        except StoreError as exc:
            log.info("Redis was not told that a customer is being forgotten: %s", exc)

    async def _customer(self, user_id: str, view: CacheView | None) -> Known:
        """What the stores say of a customer, with what was posted since."""
        known, (posted, unread) = await asyncio.gather(self._surrounded(user_id, view), self._posted(user_id, view))
        around = replace(known.customer.surroundings, own=with_feedback(known.customer.surroundings.own, posted))
        return replace(known, customer=replace(known.customer, surroundings=around), missing=(*known.missing, *unread))

    async def _posted(self, user_id: str, view: CacheView | None) -> tuple[list[Record], tuple[str, ...]]:
        """What was posted of a customer that no release reflects yet. Where MongoDB is silent, nothing, if Redis knows of nothing.

        Raises:
            StoreError: MongoDB is silent, and something was or may have been posted: the customer's no may be among it.
        """
        try:
            with self._meters.stage("posted"):
                return await self._feedback.of(user_id), ()
        except StoreError as exc:
            if view is None or view.release is None or view.heard:
                raise
            log.warning("what was posted of a customer is not known: %s", exc)
            return [], (exc.store,)

    async def _surrounded(self, user_id: str, view: CacheView | None) -> Known:
        """What Milvus and Neo4j say of a customer. Without Neo4j there is nothing to say."""
        generation = await self._generation(view)
        missing: tuple[str, ...] = ()
        vector, neighbours = None, list[Neighbour]()
        try:
            vector, neighbours = await self._neighbours(user_id, generation.release.user_vectors)
        except StoreError as exc:
            log.warning("no similar customers: %s", exc)
            missing = (exc.store,)
        with self._meters.stage("around"):
            around = await self._graph.around(user_id, [near.user_id for near in neighbours], limit=CAMPAIGNS_EACH)
        known = around.known or vector is not None
        customer = Customer(user_id=user_id, known=known, vector=vector, neighbours=neighbours, surroundings=around)
        return Known(generation=generation, customer=customer, missing=missing)

    async def _neighbours(self, user_id: str, collection: str) -> tuple[Vector | None, list[Neighbour]]:
        """The customer's vector, where there is one, and the customers nearest to it, without the customer."""
        with self._meters.stage("vector"):
            vector = await self._vectors.user_vector(collection, user_id)
        if vector is None:
            return None, []
        with self._meters.stage("similar"):
            nearest = await self._vectors.similar_users(collection, vector, limit=self._settings.neighbours + 1)
        return vector, [near for near in nearest if near.user_id != user_id][: self._settings.neighbours]

    async def _keep(self, user_id: str, query: str, view: CacheView, computed: Computed) -> bool:
        """Caches an answer, under the release and epoch that were read before computing.

        It holds until the rules change by themselves, or the conversation is over.
        """
        ttl_s: float = self._settings.cache_ttl_s if computed.customer.known else min(UNKNOWN_TTL_S, self._settings.cache_ttl_s)
        lineup = computed.generation.lineup
        talks = talks_until_ms(computed.customer.surroundings.words, now_ms=self._settings.now_ms) if lineup.model.leads else None
        for change_ms in (lineup.until_ms, until_ms(lineup.catalogue.campaigns, computed.who), talks):
            ttl_s = ttl_s if change_ms is None else min(ttl_s, (change_ms - self._settings.now_ms) / 1000)
        body = msgspec.json.encode(shown(computed, "cache"))
        epoch = ERASED if computed.erased else view.epoch
        entry = Entry(release=computed.generation.release.number, epoch=epoch, body=body)
        try:
            return await self._cache.write(user_id, query, entry, ttl_s=ttl_s)
        except StoreError as exc:
            log.info("an answer was not cached: %s", exc)
            return False


def shown(computed: Computed, source: RetrievalSource) -> Recommendations:
    """The ranking as the API shows it."""
    ranking = [Recommendation(campaign_id=each.campaign_id, ranking_score=each.score, reason=each.reason) for each in computed.ranking]
    return Recommendations(user_id=computed.customer.user_id, recommendations=ranking, retrieval_source=source)
