"""Answers for many customers at once, such as for an e-mail send, at a fraction of what as many single ones cost.

The recommender is the one of single answers: what many ask at the same time of a store goes out as one question
(retrieval.shared). So each customer's ranking, erasure and staleness are those of a single answer. The connections to Milvus
and Neo4j are others than those of single answers, with more time for each call: a send neither takes their turns nor has
them wait for its large questions.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence

import msgspec
from msgspec.structs import replace

from retrieval.answers import Answer
from retrieval.meters import Meters
from retrieval.problems import Overdue, Overloaded, unsaid
from retrieval.recommend import Recommender
from retrieval.schemas import BulkLine, Problem, Recommendations
from stores.errors import StoreError
from stores.records import ID_PATTERN
from stores.settings import Settings
from stores.sql import chunks

CHUNK = 100
"""So many customers are asked for and ranked at once; the answers of others have their turn in between."""
AT_ONCE = 2
"""So many chunks are under way: one is ranked while the stores are asked for the next."""
PATIENCE = 4
"""How many times longer than for a single answer a call of a store, and an answer, may take."""

NO_ID = Problem(title="Bad Request", status=400, detail="this is no user id: letters, digits and _ . : @ - only, 128 at most")


def patient(settings: Settings) -> Settings:
    """The settings of answers in bulk."""
    return replace(
        settings,
        read_timeout_s=PATIENCE * settings.read_timeout_s,
        answer_timeout_s=PATIENCE * settings.answer_timeout_s,
        max_concurrent_answers=AT_ONCE * CHUNK,
    )


class Bulk:
    """Answers for lists of customers."""

    def __init__(self, recommender: Recommender, meters: Meters) -> None:
        self._recommender = recommender
        self._meters = meters
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def lines(self, user_ids: Sequence[str], *, limit: int) -> AsyncIterator[list[bytes]]:
        """One JSON text for each customer, in their order, a chunk at a time. Lists that are asked for at once take turns by chunks.

        Raises:
            NoRelease: nothing was ever released.
        """
        ahead = deque[asyncio.Task[list[bytes]]]()
        try:
            for some in chunks(dict.fromkeys(user_ids), CHUNK):
                ahead.append(asyncio.create_task(self._chunk(some, limit)))
                if len(ahead) == AT_ONCE:
                    yield await ahead.popleft()
            while ahead:
                yield await ahead.popleft()
        finally:
            for chunk in ahead:
                chunk.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _chunk(self, user_ids: Sequence[str], limit: int) -> list[bytes]:
        async with self._turns:
            return await asyncio.gather(*(self._line(user_id, limit) for user_id in user_ids))

    async def _line(self, user_id: str, limit: int) -> bytes:
        if not re.match(ID_PATTERN, user_id):
            return msgspec.json.encode(BulkLine(user_id=user_id, problem=NO_ID))
        try:
            answer = await self._recommender.answer(user_id, limit=limit)
        except (StoreError, Overdue, Overloaded) as exc:
            return msgspec.json.encode(BulkLine(user_id=user_id, problem=unsaid(exc)))
        self._meters.answered(answer)
        return line_of(answer, holdout=self._recommender.holds_out(user_id))

    async def close(self) -> None:
        await self._recommender.close()


def line_of(answer: Answer, *, holdout: bool) -> bytes:
    """The body of a single answer; what its headers would say is added where it was stale, degraded or the control answer."""
    if answer.cache != "stale" and not answer.missing and not holdout:
        return answer.body
    said = msgspec.json.decode(answer.body, type=Recommendations)
    return msgspec.json.encode(
        BulkLine(
            user_id=said.user_id,
            recommendations=said.recommendations,
            retrieval_source=said.retrieval_source,
            stale=answer.cache == "stale",
            degraded=list(dict.fromkeys(answer.missing)),
            holdout=holdout,
        )
    )
