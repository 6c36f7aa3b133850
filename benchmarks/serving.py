"""What an answer costs, from the cache and computed, beside what else could give it.

    python benchmarks/serving.py [--messages 100000] [--rounds 5] [--state FOLDER] [--json]

Everything runs at once and is measured in turns, so that the machine's other load falls on all alike; medians of the rounds.
Hits: our API with keys, limits, measures and ETags on; the naive way (FastAPI, synchronous Redis, json); Litestar and the
server alone; Redis alone. Misses: our API, and the bare chain of store calls that must wait for each other, at the same
concurrency. CPU is that of the server's processes, which other load hardly changes. Results: benchmarks/results/serving.json.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.filled import USERS, fill, released, user_id
from benchmarks.load import http_requests, load, redis_length, redis_requests
from benchmarks.machine import machine
from benchmarks.serving_peers import answer
from local.engines import running_engines
from local.processes import free_port
from retrieval.keys import drawn, entry_of
from stores.cache import CacheReader, Entry
from stores.graph import GraphReader
from stores.settings import Settings, load_settings
from stores.vectors import VectorsReader

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "serving.json"
MESSAGES_EACH = 10
HIT_USERS = 1000
HIT_CONNECTIONS = 32
SECONDS_EACH = 2.0
MISS_CONCURRENCY = {1: 40, 16: 160}
"""How many misses are measured in each round at each concurrency."""
GRANIAN = """
from granian import Granian
from granian.constants import Interfaces, Loops
served = dict(factory=True, interface=Interfaces.ASGI, loop=Loops.uvloop, websockets=False)
Granian("benchmarks.serving_peers:static", port={port}, **served).serve()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000, help="messages in the stores, ten of each customer (default 100000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--state", type=Path, help="a folder for the stores, filled once and used again (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where the result is kept (default {RESULTS.name} in results/)")
    asked = parser.parse_args()
    customers = asked.messages // MESSAGES_EACH
    with folder_of(asked.state) as folder, running_engines(folder / "engines", {}) as engines:
        key = drawn()
        environment = engines.environment | own_settings(folder, key)
        settings = load_settings(environment)
        filled_before = folder / f"filled-{asked.messages}"
        if not filled_before.exists():
            say(f"filling the stores with {asked.messages} messages of {customers} customers")
            fill(settings, customers=customers, messages_each=MESSAGES_EACH)
            filled_before.touch()
        released(settings)  # Redis keeps nothing
        with servers(environment) as running:
            result = asyncio.run(measured(settings, running, key, rounds=asked.rounds, customers=customers))
    result = {"measured": datetime.now(UTC).date().isoformat(), "machine": machine(), "messages": asked.messages, **result}
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2) if asked.json else told(result))


@contextmanager
def folder_of(state: Path | None) -> Iterator[Path]:
    """Where the stores are: the folder that was asked for, to be used again, or one that is removed at the end."""
    if state is not None:
        (state / "engines").mkdir(parents=True, exist_ok=True)
        yield state
        return
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        (Path(folder) / "engines").mkdir()
        yield Path(folder)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def own_settings(folder: Path, key: str) -> dict[str, str]:
    """Limits that count and let everything pass; timeouts that a loaded machine does not reach."""
    (folder / "no.env").touch()
    return {
        "CAMPAIGNS_ENV_FILE": str(folder / "no.env"),
        "CAMPAIGNS_SQL_URL": f"sqlite:///{folder / 'metrics.sqlite3'}",
        "CAMPAIGNS_API_KEYS": entry_of(key, name="bench", scope="read"),
        "CAMPAIGNS_KEY_REQUESTS_PER_S": "1000000",
        "CAMPAIGNS_ADDRESS_REQUESTS_PER_S": "1000000",
        "CAMPAIGNS_WRITE_TIMEOUT_S": "300",
        "CAMPAIGNS_READ_TIMEOUT_S": "10",
        "CAMPAIGNS_CACHE_TIMEOUT_S": "5",
        "CAMPAIGNS_ANSWER_TIMEOUT_S": "20",
    }


class Running(msgspec.Struct):
    """A server that is measured: its port and its processes."""

    port: int
    processes: list[psutil.Process]

    def cpu_s(self) -> float:
        return sum(each.cpu_times().user + each.cpu_times().system for each in self.processes)


@contextmanager
def servers(environment: Mapping[str, str]) -> Iterator[dict[str, Running]]:
    """Ours, the naive one and the static one, each in processes of its own, and Redis, which runs already."""
    ports = {name: free_port() for name in ("ours", "naive", "static")}
    python = [sys.executable, "-c"]
    commands = {
        "ours": [sys.executable, "-m", "retrieval", "--port", str(ports["ours"])],
        "naive": [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "benchmarks.serving_peers:naive",
            "--no-access-log",
            "--port",
            str(ports["naive"]),
        ],
        "static": [*python, GRANIAN.format(port=ports["static"])],
    }
    redis_port = urlsplit(environment["CAMPAIGNS_REDIS_URL"]).port or 0
    with ExitStack() as ending:
        running = {"redis": Running(redis_port, [listening_on(redis_port)])}
        for name, command in commands.items():
            process = subprocess.Popen(
                command, env=os.environ | dict(environment), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            ending.callback(process.wait, 30)
            ending.callback(process.terminate)
            answering(ports[name], process)
            parent = psutil.Process(process.pid)
            running[name] = Running(ports[name], [parent, *parent.children(recursive=True)])
        yield running


def listening_on(port: int) -> psutil.Process:
    return next(
        psutil.Process(each.pid)
        for each in psutil.net_connections("tcp")
        if each.laddr and each.laddr.port == port and each.status == "LISTEN"
    )


def answering(port: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until a server answers anything."""
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=5)
            return
        except httpx.TransportError:
            if process.poll() is not None:
                raise SystemExit(f"{process.args} ended with {process.returncode}") from None
            time.sleep(0.1)
    raise SystemExit(f"{process.args} does not answer")


async def measured(settings: Settings, running: dict[str, Running], key: str, *, rounds: int, customers: int) -> dict:
    """All rounds, hits and misses in turns."""
    users = [user_id(number) for number in range(min(HIT_USERS, customers // 2))]
    await keep_answers(settings, users)
    key_header = f"Authorization: Bearer {key}\r\n"
    hits = Hits(running, users, key_header)
    misses = Misses(settings, running["ours"], key_header, users=[user_id(number) for number in range(len(users), customers)])
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        await hits.measure()
        await misses.measure()
    await misses.close()
    rss = {name: round(sum(each.memory_info().rss for each in running[name].processes) / 2**20) for name in ("ours", "naive", "static")}
    return {"hit": hits.result(), "miss": misses.result(), "rss_mib": rss}


async def keep_answers(settings: Settings, users: list[str]) -> None:
    """The same answers for ours and for the naive way."""
    reader = CacheReader(settings)
    for user in users:
        body = msgspec.json.encode(answer(user))
        await reader.write(user, "10", Entry(1, 0, body), ttl_s=3600)
        await reader._redis.set(f"naive:{user}:10", body)
    await reader.close()


class Hits:
    """Requests per second and CPU of each server, over so many connections."""

    def __init__(self, running: dict[str, Running], users: list[str], key_header: str) -> None:
        paths = [f"/recommendations/{user}" for user in users]
        self._running = running
        self._requests = {
            "ours": http_requests(paths, key_header),
            "naive": http_requests(paths),
            "static": http_requests(paths),
            "redis": redis_requests(f"naive:{user}:10" for user in users),
        }
        self._found: dict[str, list[dict[str, float]]] = {name: [] for name in self._requests}

    async def measure(self) -> None:
        for name, requests in self._requests.items():
            server, length = self._running[name], {"length": redis_length} if name == "redis" else {}
            before_s = server.cpu_s()
            took_s, seconds = await load(server.port, requests, connections=HIT_CONNECTIONS, seconds=SECONDS_EACH, **length)
            cpu_us = (server.cpu_s() - before_s) / len(took_s) * 1e6
            self._found[name].append({"rps": len(took_s) / seconds, "cpu_us": cpu_us, "p99_ms": quantile(took_s, 0.99) * 1000})

    def result(self) -> dict:
        """Medians, and ours beside the others: round by round, then the median."""
        said = {
            name: {what: round(statistics.median(each[what] for each in found), 1) for what in found[0]}
            for name, found in self._found.items()
        }
        ours, naive, static = (self._found[name] for name in ("ours", "naive", "static"))
        said["ratios"] = {
            "rps_ours_to_naive": ratio(ours, naive, "rps"),
            "cpu_naive_to_ours": ratio(naive, ours, "cpu_us"),
            "cpu_ours_to_static": ratio(ours, static, "cpu_us"),
        }
        return said


class Misses:
    """How long an answer takes that is computed, and how long the chain of calls that it waits for, each customer once."""

    def __init__(self, settings: Settings, ours: Running, key_header: str, *, users: list[str]) -> None:
        self._settings, self._ours, self._key_header, self._left = settings, ours, key_header, users
        self._vectors, self._graph = VectorsReader(settings), GraphReader(settings)
        self._found: dict[int, list[dict[str, float]]] = {concurrency: [] for concurrency in MISS_CONCURRENCY}

    async def measure(self) -> None:
        for concurrency, count in MISS_CONCURRENCY.items():
            chain_s = await self._chains(self._next(count), concurrency)
            requests = http_requests((f"/recommendations/{user}" for user in self._next(count)), self._key_header)
            before_s = self._ours.cpu_s()
            ours_s, seconds = await load(self._ours.port, requests, connections=concurrency)
            self._found[concurrency].append(
                {
                    "ours_p50_ms": statistics.median(ours_s) * 1000,
                    "ours_p99_ms": quantile(ours_s, 0.99) * 1000,
                    "chain_p50_ms": statistics.median(chain_s) * 1000,
                    "rps": len(ours_s) / seconds,
                    "cpu_us": (self._ours.cpu_s() - before_s) / len(ours_s) * 1e6,
                }
            )

    def _next(self, count: int) -> list[str]:
        if len(self._left) < count:
            raise SystemExit("too few customers for so many rounds")
        taken, self._left = self._left[-count:], self._left[:-count]
        return taken

    async def _chains(self, users: list[str], concurrency: int) -> list[float]:
        """Milvus for the vector, Milvus for who is like that, Neo4j for what they do: as the API asks, with nothing around it."""
        waiting, took_s = iter(users), []

        async def worker() -> None:
            for user in waiting:
                began_s = time.perf_counter()
                vector = await self._vectors.user_vector(USERS, user)
                near = await self._vectors.similar_users(USERS, vector, limit=self._settings.neighbours + 1)
                await self._graph.around(user, [each.user_id for each in near], limit=50)
                took_s.append(time.perf_counter() - began_s)

        await asyncio.gather(*(worker() for _ in range(concurrency)))
        return took_s

    async def close(self) -> None:
        await self._vectors.close()
        await self._graph.close()

    def result(self) -> dict:
        said = {}
        for concurrency, found in self._found.items():
            medians = {what: round(statistics.median(each[what] for each in found), 2) for what in found[0]}
            beside = round(statistics.median(each["ours_p50_ms"] / each["chain_p50_ms"] for each in found), 2)
            said[f"concurrency_{concurrency}"] = medians | {"p50_ours_to_chain": beside}
        return said


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def ratio(over: list[dict[str, float]], under: list[dict[str, float]], what: str) -> float:
    return round(statistics.median(a[what] / b[what] for a, b in zip(over, under, strict=True)), 2)


def told(result: dict) -> str:
    """The result as a table."""
    lines = ["from the cache        req/s   CPU us/request   p99 ms"]
    for name in ("ours", "naive", "static", "redis"):
        each = result["hit"][name]
        lines.append(f"{name:18} {each['rps']:9,.0f} {each['cpu_us']:16.1f} {each['p99_ms']:8.1f}")
    lines += [
        ", ".join(f"{name} {value}" for name, value in result["hit"]["ratios"].items()),
        "",
        "computed            p50 ms   chain p50 ms   ratio",
    ]
    for name, each in result["miss"].items():
        lines.append(f"{name:16} {each['ours_p50_ms']:9.1f} {each['chain_p50_ms']:14.1f} {each['p50_ours_to_chain']:7.2f}")
    return "\n".join([*lines, "", f"RSS in MiB: {result['rss_mib']}"])


if __name__ == "__main__":
    main()
