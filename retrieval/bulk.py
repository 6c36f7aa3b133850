"""Answers for many customers at once, such as for an e-mail send, at a fraction of what as many single ones cost.

The recommender is the one of single answers, on the same stores; what differs is how these are read: all that the customers
of a chunk ask of a store goes out as one question. So each customer's ranking, erasure and staleness are those of a single
answer. The connections to Milvus and Neo4j are others than those of single answers, with more time for each call: a send
neither takes their turns nor has them wait for its large questions.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

import msgspec
from msgspec.structs import replace

from retrieval.answers import Answer
from retrieval.problems import Overdue, Overloaded, unsaid
from retrieval.recommend import Recommender
from retrieval.schemas import BulkLine, Problem, Recommendations
from stores.coalescing import Coalesced
from stores.errors import StoreError
from stores.evidence import Neighbour, Surroundings
from stores.graph import GraphReader
from stores.records import ID_PATTERN
from stores.settings import Settings
from stores.sql import chunks
from stores.vectors import Vector, VectorsReader

CHUNK = 100
"""So many customers are asked for and ranked at once; the answers of others have their turn in between."""
PATIENCE = 4
"""How many times longer than for a single answer a call of a store, and an answer, may take."""

NO_ID = Problem(title="Bad Request", status=400, detail="this is no user id: letters, digits and _ . : @ - only, 128 at most")


def patient(settings: Settings) -> Settings:
    """The settings of answers in bulk."""
    return replace(
        settings,
        read_timeout_s=PATIENCE * settings.read_timeout_s,
        answer_timeout_s=PATIENCE * settings.answer_timeout_s,
        max_concurrent_answers=CHUNK,
    )


class SharedVectors:
    """What a recommender asks of Milvus, with what is asked at the same time as one question."""

    def __init__(self, vectors: VectorsReader) -> None:
        self._vectors = vectors
        self._of_users: Coalesced[tuple[str, str], Vector | None] = Coalesced(self._read_vectors)
        self._similar: Coalesced[tuple[str, Vector, int], list[Neighbour]] = Coalesced(self._search)

    async def user_vector(self, name: str, user_id: str) -> Vector | None:
        return await self._of_users.read((name, user_id))

    async def similar_users(self, name: str, vector: Vector, *, limit: int) -> list[Neighbour]:
        return await self._similar.read((name, vector, limit))

    async def _read_vectors(self, asked: Sequence[tuple[str, str]]) -> list[Vector | None]:
        """One question, or one per collection at the moment when a release has named another."""
        found: dict[str, dict[str, Vector]] = {}
        for name in {name for name, _ in asked}:
            found[name] = await self._vectors.user_vectors(name, [user_id for at, user_id in asked if at == name])
        return [found[name].get(user_id) for name, user_id in asked]

    async def _search(self, asked: Sequence[tuple[str, Vector, int]]) -> list[list[Neighbour]]:
        found: dict[tuple[str, int], list[list[Neighbour]]] = {}
        for name, limit in {(name, limit) for name, _, limit in asked}:
            vectors = [vector for at, vector, most in asked if (at, most) == (name, limit)]
            found[name, limit] = (await self._vectors.similar_to_each(name, vectors, limit=limit))[::-1]
        return [found[name, limit].pop() for name, _, limit in asked]

    async def close(self) -> None:
        await self._of_users.close()
        await self._similar.close()
        await self._vectors.close()


class SharedGraph:
    """What a recommender asks of Neo4j, with what is asked at the same time as one question."""

    def __init__(self, graph: GraphReader) -> None:
        self._graph = graph
        self._around: Coalesced[tuple[str, tuple[str, ...], int], Surroundings] = Coalesced(self._read)

    async def around(self, user_id: str, neighbour_ids: Sequence[str], *, limit: int) -> Surroundings:
        return await self._around.read((user_id, tuple(neighbour_ids), limit))

    async def _read(self, asked: Sequence[tuple[str, tuple[str, ...], int]]) -> list[Surroundings]:
        found = await self._graph.around_several({user_id: near for user_id, near, _ in asked}, limit=max(limit for *_, limit in asked))
        return [found[user_id] for user_id, *_ in asked]

    async def close(self) -> None:
        await self._around.close()
        await self._graph.close()


class Bulk:
    """Answers for lists of customers. `recommender` reads through the classes above."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender
        self._turn = asyncio.Lock()

    async def lines(self, user_ids: Sequence[str], *, limit: int) -> AsyncIterator[list[bytes]]:
        """One JSON text for each customer, in their order, a chunk at a time. Lists that are asked for at once take turns by chunks.

        Raises:
            NoRelease: nothing was ever released.
        """
        for some in chunks(dict.fromkeys(user_ids), CHUNK):
            async with self._turn:
                yield await asyncio.gather(*(self._line(user_id, limit) for user_id in some))

    async def _line(self, user_id: str, limit: int) -> bytes:
        if not re.match(ID_PATTERN, user_id):
            return msgspec.json.encode(BulkLine(user_id=user_id, problem=NO_ID))
        try:
            answer = await self._recommender.answer(user_id, limit=limit)
        except (StoreError, Overdue, Overloaded) as exc:
            return msgspec.json.encode(BulkLine(user_id=user_id, problem=unsaid(exc)))
        return line_of(answer)

    async def close(self) -> None:
        await self._recommender.close()


def line_of(answer: Answer) -> bytes:
    """The body of a single answer; what its headers would say is added where it was stale or degraded."""
    if answer.cache != "stale" and not answer.missing:
        return answer.body
    said = msgspec.json.decode(answer.body, type=Recommendations)
    return msgspec.json.encode(
        BulkLine(
            user_id=said.user_id,
            recommendations=said.recommendations,
            retrieval_source=said.retrieval_source,
            stale=answer.cache == "stale",
            degraded=list(dict.fromkeys(answer.missing)),
        )
    )
