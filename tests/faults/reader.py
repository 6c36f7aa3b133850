"""A client that asks the API for recommendations all the while, and complains of whatever a refresh should never show."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle

import httpx
import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from stores.cache import RELEASE_KEY
from stores.settings import Settings

LANES = 2
TIMEOUT_S = 30.0
BACK_WITHIN_S = 30.0
WHOLE_IN_A_ROW = 3


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the client met: answers by status and by X-Cache, how many were degraded, how long they took, and the complaints."""

    answers: int
    statuses: dict[str, int]
    caches: dict[str, int]
    degraded: dict[str, int]
    releases: int
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    complaints: list[str]


class Reader:
    """Asks for one customer after the other, in a thread of its own, from `start` to `stop`, `pause_s` after each answer.

    While an engine is out (`outage`), what `retrieval.recommend` says of that outage is no complaint; everything else is.
    """

    def __init__(self, settings: Settings, api_url: str, customers: Sequence[str], *, pause_s: float) -> None:
        self._settings = settings
        self._api_url = api_url
        self._customers = customers
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._out: frozenset[str] = frozenset()
        self._outages = 0
        self._whole_in_a_row = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask_on()), name="reader", daemon=True)
        self._statuses, self._caches, self._degraded = Counter[str](), Counter[str](), Counter[str]()
        self._took_ms: list[float] = []
        self._releases: set[int] = set()
        self.complaints: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> Seen:
        self._stopping.set()
        self._thread.join(TIMEOUT_S)
        took = sorted(self._took_ms) or [0.0]
        return Seen(
            answers=len(self._took_ms),
            statuses=dict(self._statuses),
            caches=dict(self._caches),
            degraded=dict(self._degraded),
            releases=len(self._releases),
            p50_ms=round(took[len(took) // 2], 1),
            p99_ms=round(took[int(len(took) * 0.99)], 1),
            slowest_ms=round(took[-1], 1),
            complaints=self.complaints,
        )

    @contextmanager
    def outage(self, store: str) -> Iterator[None]:
        """From here until answers are whole again after the block, this store may be missing from answers."""
        self._out, self._outages = self._out | {store}, self._outages + 1
        yield
        self._whole_in_a_row = 0
        deadline = time.monotonic() + BACK_WITHIN_S
        while self._whole_in_a_row < WHOLE_IN_A_ROW * LANES:
            if time.monotonic() > deadline:
                self.complaints.append(f"{BACK_WITHIN_S:g} s after {store} was back, answers were not whole yet")
                break
            time.sleep(0.05)
        self._out, self._outages = self._out - {store}, self._outages + 1

    async def _ask_on(self) -> None:
        cache = redis.asyncio.Redis.from_url(self._settings.redis_url, socket_timeout=2, socket_connect_timeout=2)
        async with httpx.AsyncClient(base_url=self._api_url, timeout=TIMEOUT_S) as api, asyncio.TaskGroup() as lanes:
            for lane in range(LANES):
                lanes.create_task(self._lane(api, cache, self._customers[lane::LANES]))
        await cache.aclose()

    async def _lane(self, api: httpx.AsyncClient, cache: redis.asyncio.Redis, customers: Sequence[str]) -> None:
        newest = 0
        for user_id in cycle(customers):
            if self._stopping.is_set():
                return
            published, out, outages = await _published(cache), self._out, self._outages
            began = time.perf_counter()
            try:
                answer = await api.get(f"/recommendations/{user_id}")
            except httpx.HTTPError as exc:
                self.complaints.append(f"{user_id}: {type(exc).__name__}")
                continue
            self._took_ms.append((time.perf_counter() - began) * 1000)
            excused = out | self._out if (outages, self._outages) != (0, 0) else frozenset()
            newest = self._judge(user_id, answer, published=published, newest=newest, excused=excused)
            await asyncio.sleep(self._pause_s)

    def _judge(self, user_id: str, answer: httpx.Response, *, published: int, newest: int, excused: frozenset[str]) -> int:
        """Complains of an answer that should not have been; the newest release that this lane has met."""
        cached, missing = answer.headers.get("X-Cache", ""), answer.headers.get("X-Degraded", "")
        self._statuses[str(answer.status_code)] += 1
        self._caches[cached or "none"] += 1
        whole = answer.status_code == 200 and cached in {"hit", "miss"} and not missing
        self._whole_in_a_row = self._whole_in_a_row + 1 if whole else 0
        if answer.status_code != 200:
            if answer.status_code != 503 or not excused:
                self.complaints.append(f"{user_id}: {answer.status_code} {answer.text[:200]} (out: {set(excused) or 'nothing'})")
            return newest
        if missing:
            self._degraded[missing] += 1
        if (missing or cached in {"bypass", "stale"}) and not excused:
            self.complaints.append(f"{user_id}: X-Cache {cached}, without {missing or 'nothing'}, though every store was up")
        self._judge_body(user_id, answer)
        release = int(answer.headers["X-Release"])
        self._releases.add(release)
        if cached == "stale":
            return newest
        if release < newest:
            self.complaints.append(f"{user_id}: release {release} ({cached}) after release {newest}")
        if release < published and not missing:
            self.complaints.append(f"{user_id}: release {release} ({cached}), though {published} was published before the question")
        return max(newest, release)

    def _judge_body(self, user_id: str, answer: httpx.Response) -> None:
        found = answer.json()["recommendations"]
        if not found:
            self.complaints.append(f"{user_id}: an empty list (X-Cache {answer.headers.get('X-Cache')})")
        halves = [each for each in found if not (each["campaign_id"] and each["reason"] and 0 <= each["ranking_score"] <= 1)]
        if halves or len({each["campaign_id"] for each in found}) != len(found):
            self.complaints.append(f"{user_id}: half-written or doubled: {found}")


async def _published(cache: redis.asyncio.Redis) -> int:
    """The release that Redis says is current; 0 where it does not say."""
    try:
        return int(await cache.get(RELEASE_KEY) or 0)
    except (RedisError, OSError, TimeoutError):
        return 0
