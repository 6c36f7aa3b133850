"""What an answer costs among many, and by itself: POST /recommendations against single misses, nothing of either cached.

    python benchmarks/bulk.py [--customers 10000] [--asked 500] [--rounds 3] [--json]

Starts engines and an API of its own. Each round asks for the same customers singly, one after the other, then 16 at a time,
then all at once; a new release outdates the answers in between. Medians of the rounds. Results: benchmarks/results/bulk.json.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import machine
from benchmarks.stage import Stage, publish, staged

RESULTS = Path(__file__).parent / "results" / "bulk.json"
AT_ONCE = 16
TIMEOUT_S = 120
WIDE = {"read_timeout_s": "10", "answer_timeout_s": "30", "cache_timeout_s": "2"}
"""No answer is cut short where the machine is busy: what is measured is the cost of whole ones."""

Asking = Callable[[httpx.AsyncClient, list[str]], Awaitable[None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=10_000, help="how many customers the stores hold (default 10,000)")
    parser.add_argument("--asked", type=int, default=500, help="how many are asked for (default 500, the most at once)")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default 3)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where the result is kept (default {RESULTS.name} in results/)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bulk-") as folder, staged(Path(folder), customers=asked.customers, **WIDE) as stage:
        user_ids = [f"u_{n:06d}" for n in range(asked.asked)]
        rounds = [asyncio.run(measured(stage, user_ids, 3 * number + 1)) for number in range(asked.rounds)]
    ways = {way: {what: round(statistics.median(each[way][what] for each in rounds), 3) for what in rounds[0][way]} for way in rounds[0]}
    result = {
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "customers": asked.customers,
        "asked": asked.asked,
        "ms_per_customer": ways,
        "times_cheaper": {
            way: {what: round(ways[way][what] / ways["in_bulk"][what], 1) for what in ways[way]} for way in ways if way != "in_bulk"
        },
        "rounds": rounds,
    }
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2) if asked.json else json.dumps({name: result[name] for name in ("ms_per_customer", "times_cheaper")}))


async def measured(stage: Stage, user_ids: list[str], release: int) -> dict[str, dict[str, float]]:
    """Milliseconds a customer, each way: on the clock, and of the CPU that API and engines took."""
    ways: dict[str, Asking] = {"one_by_one": one_by_one, f"{AT_ONCE}_at_a_time": at_once, "in_bulk": in_bulk}
    found = {}
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=stage.api_url, timeout=TIMEOUT_S, limits=limits) as client:
        for number, (way, ask) in enumerate(ways.items(), start=release + 1):
            publish(stage.settings, number)
            await client.get("/recommendations/warm")  # the catalogue of the new release is read
            began_s, api_s, engines_s = time.perf_counter(), stage.api_cpu_s, stage.engines_cpu_s
            await ask(client, user_ids)
            taken = {
                "clock": time.perf_counter() - began_s,
                "api_cpu": stage.api_cpu_s - api_s,
                "engines_cpu": stage.engines_cpu_s - engines_s,
            }
            found[way] = {what: round(1000 * seconds / len(user_ids), 3) for what, seconds in taken.items()}
            print(way, found[way], file=sys.stderr, flush=True)
    return found


async def one_by_one(client: httpx.AsyncClient, user_ids: list[str]) -> None:
    for user_id in user_ids:
        computed(await client.get(f"/recommendations/{user_id}"))


async def at_once(client: httpx.AsyncClient, user_ids: list[str]) -> None:
    waiting = list(user_ids)

    async def ask_on() -> None:
        while waiting:
            computed(await client.get(f"/recommendations/{waiting.pop()}"))

    await asyncio.gather(*(ask_on() for _ in range(AT_ONCE)))


async def in_bulk(client: httpx.AsyncClient, user_ids: list[str]) -> None:
    answer = await client.post("/recommendations", json={"user_ids": user_ids})
    lines = answer.raise_for_status().json()["answers"]
    if len(lines) != len(user_ids) or any(line.keys() != {"user_id", "recommendations", "retrieval_source"} for line in lines):
        raise SystemExit(f"not whole: {next(line for line in lines if 'recommendations' not in line or len(line) > 3)}")
    if any(line["retrieval_source"] != "computed" for line in lines):
        raise SystemExit("some were cached")


def computed(answer: httpx.Response) -> None:
    if answer.headers.get("X-Cache") != "miss" or "X-Degraded" in answer.headers:
        raise SystemExit(f"{answer.status_code} {answer.headers} {answer.text[:200]}")


if __name__ == "__main__":
    main()
