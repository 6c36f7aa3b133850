"""Many reads as one."""

import asyncio
from collections.abc import Sequence

from stores.coalescing import LARGEST_BATCH, UNDER_WAY, Coalesced


class Doubling:
    """Answers each number with its double, and keeps what it was asked."""

    def __init__(self, *, takes_s: float = 0.0) -> None:
        self.asked: list[list[int]] = []
        self.at_once = self.most_at_once = 0
        self._takes_s = takes_s

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self._takes_s)
        self.at_once -= 1
        if 13 in numbers:
            raise ValueError("no")
        return [2 * each for each in numbers]


def test_what_is_asked_at_the_same_time_is_one_batch_and_everybody_gets_their_own() -> None:
    doubling = Doubling()

    async def scenario() -> list[int]:
        reads: Coalesced[int, int] = Coalesced(doubling)
        return await asyncio.gather(*(reads.read(n) for n in (3, 1, 2, 3)))

    assert asyncio.run(scenario()) == [6, 2, 4, 6]
    assert doubling.asked == [[3, 1, 2, 3]]


def test_only_so_many_batches_are_under_way_and_none_is_larger_than_it_may() -> None:
    doubling = Doubling(takes_s=0.001)
    wanted = [n for n in range(5 * LARGEST_BATCH) if n != 13]

    async def scenario() -> list[int]:
        reads: Coalesced[int, int] = Coalesced(doubling)

        async def read(n: int) -> int:
            await asyncio.sleep(0.0001 * (n % 7))
            return await reads.read(n)

        return await asyncio.gather(*(read(n) for n in wanted))

    assert asyncio.run(scenario()) == [2 * n for n in wanted]
    assert doubling.most_at_once <= UNDER_WAY
    assert max(map(len, doubling.asked)) <= LARGEST_BATCH


def test_an_error_is_everybodys_in_the_batch_and_of_nobody_after_it() -> None:
    async def scenario() -> list[object]:
        reads: Coalesced[int, int] = Coalesced(Doubling())
        failed = await asyncio.gather(reads.read(1), reads.read(13), return_exceptions=True)
        return [type(each) for each in failed] + [await reads.read(1)]

    assert asyncio.run(scenario()) == [ValueError, ValueError, 2]


def test_a_caller_who_goes_away_ends_only_their_own_waiting() -> None:
    async def scenario() -> int:
        reads: Coalesced[int, int] = Coalesced(Doubling(takes_s=0.01))
        first, second = reads.read(1), reads.read(2)
        await asyncio.sleep(0.001)
        first.cancel()
        return await second

    assert asyncio.run(scenario()) == 4


def test_closing_ends_everybodys_waiting() -> None:
    async def scenario() -> None:
        reads: Coalesced[int, int] = Coalesced(Doubling(takes_s=60))
        reads_at_work = []
        for n in range(UNDER_WAY + 1):
            reads_at_work.append(reads.read(n))
            await asyncio.sleep(0.001)
        await reads.close()
        ended = await asyncio.gather(*reads_at_work, return_exceptions=True)
        assert [type(each) for each in ended] == [asyncio.CancelledError] * (UNDER_WAY + 1)

    asyncio.run(asyncio.wait_for(scenario(), 5))
