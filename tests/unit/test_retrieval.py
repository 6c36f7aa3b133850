"""What the reading door promises without any store."""

import asyncio
import subprocess
import sys

import pytest

from retrieval.flights import Flights


def test_importing_the_app_loads_neither_dagster_nor_torch() -> None:
    code = "import retrieval.app, sys; print(sorted({name.split('.')[0] for name in sys.modules} & {'dagster', 'torch', 'transformers'}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_making_the_app_needs_no_store() -> None:
    code = "from retrieval.app import create_app; from stores.settings import Settings; create_app(Settings()); print('made')"
    assert "made" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_bad_setting_is_one_line_that_names_the_variable() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "retrieval"], capture_output=True, text=True, check=False, env={"CAMPAIGNS_CACHE_TTL_S": "soon"}
    )
    assert done.returncode == 1
    assert done.stderr.startswith("CAMPAIGNS_CACHE_TTL_S: ")
    assert len(done.stderr.splitlines()) == 1


def test_everybody_who_asks_at_the_same_time_shares_one_computation() -> None:
    started: list[int] = []

    async def compute() -> int:
        started.append(1)
        await asyncio.sleep(0.01)
        return 7

    async def scenario() -> list[int]:
        flights: Flights[int] = Flights()
        return [*await asyncio.gather(*(flights.join("k", compute) for _ in range(20))), await flights.join("k", compute)]

    assert asyncio.run(scenario()) == [7] * 21
    assert len(started) == 2


def test_a_caller_who_goes_away_does_not_end_the_others_waiting() -> None:
    async def compute() -> int:
        await asyncio.sleep(0.02)
        return 7

    async def scenario() -> int:
        flights: Flights[int] = Flights()
        first = asyncio.create_task(flights.join("k", compute))
        second = asyncio.create_task(flights.join("k", compute))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(scenario()) == 7


def test_an_error_is_everybodys_and_is_not_kept() -> None:
    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def scenario() -> list[object]:
        flights: Flights[int] = Flights()
        failed = await asyncio.gather(*(flights.join("k", fail) for _ in range(3)), return_exceptions=True)
        return [type(each) for each in failed] + [await flights.join("k", seven)]

    async def seven() -> int:
        return 7

    assert asyncio.run(scenario()) == [ValueError, ValueError, ValueError, 7]


def test_importing_the_client_loads_neither_the_server_nor_a_driver() -> None:
    heavy = {"litestar", "pymongo", "redis", "neo4j", "pymilvus"}
    code = f"import retrieval.client, sys; print(sorted({{name.split('.')[0] for name in sys.modules}} & {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
