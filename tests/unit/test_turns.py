"""Beyond its bound the API refuses at once."""

import asyncio
import time

import pytest

from retrieval.meters import Meters
from retrieval.problems import Overloaded
from retrieval.turns import Turns


def series(meters: Meters, name: str) -> float:
    [line] = [line for line in meters.text().decode().splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def test_so_many_compute_so_many_wait_and_the_rest_is_told_at_once() -> None:
    meters = Meters()
    turns, free = Turns(at_once=2, waiting=3, meters=meters), asyncio.Event()
    done: list[int] = []

    async def compute(number: int) -> None:
        async with turns:
            await free.wait()
            done.append(number)

    async def scenario() -> None:
        under_way = [asyncio.create_task(compute(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert (series(meters, "campaigns_computing"), series(meters, "campaigns_waiting")) == (2, 3)
        for _ in range(4):
            began_s = time.monotonic()
            with pytest.raises(Overloaded):
                await compute(9)
            assert time.monotonic() - began_s < 0.05
        free.set()
        await asyncio.gather(*under_way)

    asyncio.run(scenario())
    assert done == [0, 1, 2, 3, 4]
    assert series(meters, "campaigns_shed_total") == 4
    assert (series(meters, "campaigns_computing"), series(meters, "campaigns_waiting")) == (0, 0)


def test_whoever_stops_waiting_leaves_their_place_to_others() -> None:
    async def scenario() -> bool:
        turns = Turns(at_once=1, waiting=1, meters=Meters())
        async with turns:
            waiting = asyncio.create_task(turns.__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            again = asyncio.create_task(turns.__aenter__())
            await asyncio.sleep(0)
        return await asyncio.wait_for(again, 1) is turns

    assert asyncio.run(scenario())
