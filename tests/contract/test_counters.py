"""Limits that hold across processes: what one has let in counts for all."""

import asyncio
import time

import pytest
from msgspec.structs import replace
from redis import Redis

from local.engines import RunningEngines
from retrieval.limits import SHARED_EVERY_S, WINDOW_S, Limits
from stores.counters import Counters
from stores.errors import Unavailable
from stores.settings import Settings


def test_a_count_is_everybodys_and_ends_by_itself(settings: Settings) -> None:
    async def both() -> list[dict[str, int]]:
        first, second = Counters(settings), Counters(settings)
        said = [await each.add({"a": 2, "b": 1}, window=7, lasts_s=20) for each in (first, second)]
        said.append(await first.add({"a": 1}, window=8, lasts_s=20))
        await first.close()
        await second.close()
        return said

    assert asyncio.run(both()) == [{"a": 2, "b": 1}, {"a": 4, "b": 2}, {"a": 1}]
    with Redis.from_url(settings.redis_url) as redis:
        assert all(0 < redis.ttl(key) <= 20 for key in redis.keys("count:*"))
        assert len(redis.keys("count:*")) == 3


def test_a_limit_holds_for_all_processes_together(settings: Settings) -> None:
    async def let_in() -> int:
        left_s = WINDOW_S - time.time() % WINDOW_S
        await asyncio.sleep(left_s if left_s < 3 else 0)
        processes = [Limits(Counters(settings)) for _ in range(3)]
        admitted = 0
        for turn in range(120):
            admitted += processes[turn % 3].admit("key:shop", per_s=3) is None
            await asyncio.sleep(2 * SHARED_EVERY_S if turn < 9 else 0.005)
        for each in processes:
            await each.close()
        return admitted

    # Each may let in what it has not heard of from the others within one exchange.
    assert 30 <= asyncio.run(let_in()) <= 30 + 3 * 5


def test_a_silent_server_costs_the_counting_a_moment_and_the_requests_nothing(engines: RunningEngines, settings: Settings) -> None:
    impatient = replace(settings, cache_timeout_s=0.1)

    async def through_a_pause() -> float:
        counters, limits = Counters(impatient), Limits(Counters(impatient))
        engines.pause("redis")
        started_s = time.monotonic()
        assert [limits.admit("key:shop", per_s=1000) for _ in range(100)] == [None] * 100
        spent_s = time.monotonic() - started_s
        with pytest.raises(Unavailable):
            await counters.add({"a": 1}, window=1, lasts_s=1)
        engines.resume("redis")
        await limits.close()
        return spent_s

    assert asyncio.run(through_a_pause()) < 0.05
