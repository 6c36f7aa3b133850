"""Counts that all processes of the API share, in Redis: of how often somebody asked within one window of time."""

from collections.abc import Mapping

import redis.asyncio
from redis.asyncio.retry import Retry

from stores.breaker import Breaker
from stores.cache import REDIS_ERRORS, opened, retried_once
from stores.errors import translated
from stores.settings import Settings

CONNECTIONS = 2


class Counters:
    """For one event loop, over connections of its own: the cache never waits for them. Nothing connects before the first call."""

    def __init__(self, settings: Settings) -> None:
        pool = opened(
            redis.asyncio.BlockingConnectionPool.from_url,
            settings.redis_url,
            max_connections=CONNECTIONS,
            timeout=settings.cache_timeout_s,
            socket_timeout=settings.cache_timeout_s,
            socket_connect_timeout=settings.cache_timeout_s,
            retry=retried_once(Retry),
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._breaker = Breaker("redis")

    async def close(self) -> None:
        await self._redis.aclose()

    async def add(self, counts: Mapping[str, int], *, window: int, lasts_s: int) -> dict[str, int]:
        """Adds to the counts of a window, in one round trip, and gives what all processes have counted. They last `lasts_s` from now."""
        with self._breaker, translated("redis", REDIS_ERRORS):
            async with self._redis.pipeline(transaction=False) as all_of_them:
                for name, count in counts.items():
                    all_of_them.incrby(key := count_key(name, window), count)
                    all_of_them.expire(key, lasts_s)
                said = await all_of_them.execute()
        return dict(zip(counts, said[::2], strict=True))


def count_key(name: str, window: int) -> str:
    return f"count:{window}:{name}"
