"""What customers get while a store is killed or hangs, and how soon all is well again. Every store, both ways, under traffic.

    python benchmarks/outages.py [--customers 1000] [--clients 8] [--stores …] [--json]

Starts engines and an API of its own. Clients ask for cached answers and for new ones, and post events, all the time. After
two seconds a store is killed (SIGKILL) or frozen (SIGSTOP) for four, then it is brought back. `unsound` counts answers that
must not be: later than 2 s, an error where something sound could be said, an error without Retry-After.
`whole_after_s` is from the moment at which the store answers again until everybody is answered whole, by itself.
Results: benchmarks/results/outages.json.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import httpx
from msgspec import Struct

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import machine
from benchmarks.stage import Stage, staged

RESULTS = Path(__file__).parent / "results" / "outages.json"
STORES = ("redis", "milvus", "neo4j", "mongodb")
WAYS = ("kill", "pause")
BEFORE_S, DOWN_S, AFTER_S, CALM_S = 2.0, 4.0, 10.0, 1.0
LONGEST_S = 2.0
WELL_KNOWN = 20
NEEDED = {"new": "neo4j", "event": "mongodb"}
"""The store without which a question of this kind can have no answer, where nothing older is held."""


class Asked(Struct, frozen=True, kw_only=True):
    """One question, of kind cached, new or event, and what was answered; `at_s` is when it was sent. `degraded` names the stores
    that were missing, or the one for which there was no answer."""

    kind: str
    at_s: float
    took_s: float
    status: int
    cache: str = ""
    degraded: str = ""
    retry_after: str = ""

    @property
    def whole(self) -> bool:
        return self.status in (200, 202) and not self.degraded and self.cache in ("hit", "miss", "")

    def sound(self, store: str) -> bool:
        """Whether this may be answered while the store is down."""
        if self.took_s > LONGEST_S:
            return False
        return 0 < self.status < 500 or (self.status == 503 and bool(self.retry_after) and NEEDED.get(self.kind) == store)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1000, help="how many customers the stores hold (default 1000)")
    parser.add_argument("--clients", type=int, default=8, help="how many ask at the same time (default 8)")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES, help="which stores go away (default: all, one by one)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where the result is kept (default {RESULTS.name} in results/)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="outages-") as folder, staged(Path(folder), customers=asked.customers) as stage:
        outages = [outage(stage, store, how, asked.clients, asked.customers) for store in asked.stores for how in WAYS]
    result = {
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "customers": asked.customers,
        "clients": asked.clients,
        "unsound": sum(each["unsound"] for each in outages),
        "longest_s": max(each["longest_s"] for each in outages),
        "outages": outages,
    }
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=2) + "\n")
    if asked.json:
        print(json.dumps(result, indent=2))


def outage(stage: Stage, store: str, how: str, clients: int, customers: int) -> dict:
    """One store away and back, and what everybody was answered."""
    answers: list[Asked] = []
    over = threading.Event()
    traffic = threading.Thread(target=lambda: asyncio.run(ask_all(stage.api_url, clients, customers, answers, over)))
    traffic.start()
    try:
        time.sleep(BEFORE_S)
        down_s = time.monotonic()
        getattr(stage.engines, how)(store)
        time.sleep(DOWN_S)
        stage.engines.restore()
        back_s = time.monotonic()
        while time.monotonic() < back_s + AFTER_S and not calm(answers, since_s=back_s):
            time.sleep(0.1)
    finally:
        over.set()
        traffic.join()
    found = summary(answers, store, how, down_s, back_s)
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


async def ask_all(api_url: str, clients: int, customers: int, answers: list[Asked], over: threading.Event) -> None:
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=api_url, timeout=30, limits=limits) as client:
        await asyncio.gather(*(ask_on(client, random.Random(n), customers, answers, over) for n in range(clients)))


def calm(answers: list[Asked], *, since_s: float) -> bool:
    """Whether a second has passed, and everything of the last second was whole, and it was something."""
    began_s = time.monotonic() - CALM_S
    latest = [each for each in list(answers) if each.at_s > began_s]
    return began_s > since_s and bool(latest) and all(each.whole for each in latest)


async def ask_on(client: httpx.AsyncClient, draw: random.Random, customers: int, answers: list[Asked], over: threading.Event) -> None:
    """One client: a cached answer, a new one, another cached one, an event, and again. A connection that breaks is an answer: 0."""
    while not over.is_set():
        for kind in ("cached", "new", "cached", "event"):
            at_s = time.monotonic()
            try:
                answers.append(await ask(client, kind, draw, customers))
            except httpx.TransportError as exc:
                print(f"{kind}: {exc!r}", file=sys.stderr, flush=True)
                answers.append(Asked(kind=kind, at_s=at_s, took_s=time.monotonic() - at_s, status=0))


async def ask(client: httpx.AsyncClient, kind: str, draw: random.Random, customers: int) -> Asked:
    at_s = time.monotonic()
    if kind == "event":
        stamp = datetime.now(UTC).isoformat()
        event = {"user_id": f"poster_{draw.randrange(50)}", "event": "click", "campaign_id": "c_001", "timestamp": stamp}
        answer = await client.post("/events", json=[event])
    else:
        user = draw.randrange(WELL_KNOWN if kind == "cached" else customers)
        limit = 10 if kind == "cached" else draw.randint(11, 100)
        answer = await client.get(f"/recommendations/u_{user:06d}", params={"limit": limit})
    headers = answer.headers
    return Asked(
        kind=kind,
        at_s=at_s,
        took_s=time.monotonic() - at_s,
        status=answer.status_code,
        cache=headers.get("X-Cache", ""),
        degraded=headers.get("X-Degraded") or (answer.json().get("store", "late") if answer.status_code == 503 else ""),
        retry_after=headers.get("Retry-After", ""),
    )


def summary(answers: list[Asked], store: str, how: str, down_s: float, back_s: float) -> dict:
    """What was answered while the store was away, by kind; what should not have been; how soon all was well."""
    away = [each for each in answers if down_s <= each.at_s < back_s]
    after = [each for each in answers if each.at_s >= back_s]
    not_whole = [each for each in after if not each.whole]
    return {
        "store": store,
        "how": how,
        "away_s": round(back_s - down_s, 1),
        "unsound": sum(not each.sound(store) for each in away) + sum(not each.sound(store) for each in after),
        "longest_s": round(max(each.took_s for each in answers), 2),
        "whole_after_s": round(max((each.at_s + each.took_s - back_s for each in not_whole), default=0.0), 1),
        "answers_before": sum(each.at_s < down_s for each in answers),
        "answers_away": counted(away),
        "answers_after": len(after),
        "not_whole_after": counted(not_whole),
    }


def counted(answers: list[Asked]) -> dict[str, int]:
    """How many answers there are of each kind, status, state of the cache and missing store."""
    said = Counter(f"{each.kind}: {each.status} {' '.join(filter(None, (each.cache, each.degraded)))}".strip() for each in answers)
    return dict(sorted(said.items()))


if __name__ == "__main__":
    main()
