"""Many reads at the same time as one: what is asked for within one turn of an event loop goes out in one round trip."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

UNDER_WAY = 2
LARGEST_BATCH = 256


class Coalesced(Generic[Question, Answer]):
    """Reads in batches. While `UNDER_WAY` batches are, further questions gather for the next: the busier, the cheaper each.

    `ask` answers a batch in its order; its error is everybody's in it.
    """

    def __init__(self, ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]]) -> None:
        self._ask = ask
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._batches: set[asyncio.Task[None]] = set()
        self._planned = False

    def read(self, question: Question) -> asyncio.Future[Answer]:
        """The answer to come. Whoever goes away ends only their own waiting."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((question, future))
        if not self._planned and len(self._batches) < UNDER_WAY:
            self._planned = True
            loop.call_soon(self._start)
        return future

    async def close(self) -> None:
        """Ends what is under way, and what waits for its turn."""
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            future.cancel()
        batches = list(self._batches)
        for batch in batches:
            batch.cancel()
        await asyncio.gather(*batches, return_exceptions=True)

    def _start(self) -> None:
        self._planned = False
        batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
        task = asyncio.ensure_future(self._answer(batch))
        self._batches.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        if self._waiting and not self._planned:
            self._start()

    async def _answer(self, batch: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._ask([question for question, _ in batch])
        except BaseException as exc:
            for _, future in batch:
                if not future.done():
                    future.cancel() if isinstance(exc, asyncio.CancelledError) else future.set_exception(exc)
            if not isinstance(exc, Exception):
                raise
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
