"""One computation for everybody who asks for the same thing at the same time."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Flights(Generic[Result]):
    """Computations under way in this process, by key."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Result]] = {}

    async def join(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of the computation under way for `key`, which is started where there is none.

        A caller who goes away ends only their own waiting. An error is everybody's.
        """
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(start())
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: Hashable, task: asyncio.Task[Result]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # seen: where every caller went away, nobody else looks at it

    async def close(self) -> None:
        """Ends what is still under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
