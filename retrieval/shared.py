"""Milvus and Neo4j as answers ask them: what is asked at the same time goes out as one question.

An answer by itself asks what it would anyway. Under load this is what keeps the stores from being asked more than they can
answer in time: the more answers wait, the less each costs.
"""

from collections.abc import Sequence

from stores.coalescing import Coalesced
from stores.evidence import Neighbour, Surroundings
from stores.graph import GraphReader
from stores.vectors import Vector, VectorsReader


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
        if len(asked) == 1:
            [(user_id, near, limit)] = asked
            return [await self._graph.around(user_id, near, limit=limit)]
        found = await self._graph.around_several({user_id: near for user_id, near, _ in asked}, limit=max(limit for *_, limit in asked))
        return [found[user_id] for user_id, *_ in asked]

    async def close(self) -> None:
        await self._around.close()
        await self._graph.close()
