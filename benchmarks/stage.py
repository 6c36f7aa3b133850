"""A platform to ask: engines of its own, filled with made-up customers past any refresh, and the API in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx
import msgspec
import numpy as np
import psutil

from benchmarks.synthetic import MESSAGES_EACH, campaigns, messages
from local.engines import RunningEngines, running_engines
from local.environment import ROOT
from local.processes import free_port
from ranking.engagement import EngagementWeights, ties_of
from stores.cache import Cache
from stores.documents import Documents
from stores.graph import Graph
from stores.metrics import Metrics
from stores.records import Campaign, Record, Release, epoch_ms
from stores.settings import Settings, load_settings
from stores.sql import open_engine
from stores.vectors import Vector, Vectors
from tests.seeding import event_row

DIMENSION = 384
MESSAGES, USERS, TEXTS = (f"{kind}_vectors_made_up_{DIMENSION}_b" for kind in ("message", "user", "campaign"))
CLUSTERS = 40
READY_WITHIN_S = 60.0


class Stage(msgspec.Struct, frozen=True):
    """What runs: the engines, the settings that lead to them, and the API's address and processes."""

    engines: RunningEngines
    settings: Settings
    api_url: str
    api: psutil.Process

    @property
    def api_cpu_s(self) -> float:
        """Seconds of CPU that the API has taken so far."""
        return sum(sum(each.cpu_times()[:2]) for each in (self.api, *self.api.children(recursive=True)))

    @property
    def engines_cpu_s(self) -> float:
        """Seconds of CPU that the engines have taken so far."""
        engines = [psutil.Process(child.pid) for child in self.engines.children]
        return sum(sum(each.cpu_times()[:2]) for engine in engines for each in (engine, *engine.children(recursive=True)))


@contextmanager
def staged(folder: Path, *, customers: int, **settings: str) -> Iterator[Stage]:
    """Engines in this folder with so many customers of 20 records each, release 1, and an API that is ready. `settings` by field."""
    with running_engines(folder / "engines", {}) as engines:
        own = {f"CAMPAIGNS_{name.upper()}": value for name, value in settings.items()}
        environment = engines.environment | {
            "CAMPAIGNS_ENV_FILE": str(folder / "no.env"),
            "CAMPAIGNS_SQL_URL": f"sqlite:///{folder / 'metrics.sqlite3'}",
            **own,
        }
        (folder / "no.env").touch()
        loaded = load_settings(environment)
        fill(loaded, customers)
        with api(environment, folder / "api.log") as (url, process):
            yield Stage(engines, loaded, url, process)


@contextmanager
def api(environment: dict[str, str], log: Path) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    own = {name: value for name, value in os.environ.items() if not name.startswith("CAMPAIGNS_")}
    with log.open("w") as told:
        command = [sys.executable, "-m", "retrieval", "--port", str(port)]
        running = subprocess.Popen(command, env=own | environment, stdout=told, stderr=told, cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + READY_WITHIN_S
        while not ready(url):
            if running.poll() is not None or time.monotonic() > until:
                raise SystemExit(log.read_text())
            time.sleep(0.1)
        yield url, psutil.Process(running.pid)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).json()["status"] == "ready"
    except httpx.TransportError:
        return False


def fill(settings: Settings, customers: int) -> None:
    """Every store, by its own writing side; vectors are drawn around a few centres."""
    of_user: dict[str, list[Record]] = defaultdict(list)
    for row in messages(customers * MESSAGES_EACH, seed=1, customers=customers):
        record = msgspec.convert({**row, "timestamp_ms": epoch_ms(datetime.fromisoformat(str(row["timestamp"])))}, Record)
        of_user[record.user_id].append(record)
    entries, weights = [msgspec.convert(row, Campaign) for row in campaigns()], EngagementWeights()
    fill_vectors(settings, sorted(of_user), [each.campaign_id for each in entries])
    graph = Graph(settings)
    graph.prepare()
    graph.put_campaigns(entries)
    graph.put_customers([ties_of(user_id, theirs, weights=weights) for user_id, theirs in of_user.items()])
    graph.refresh_attraction({each.campaign_id for each in entries})
    graph.close()
    metrics = Metrics(open_engine(settings))
    metrics.prepare()
    rows = [event_row(record, weights) for theirs in of_user.values() for record in theirs]
    metrics.put(rows=rows, catalogue=entries, gone=[], users=sorted(of_user))
    metrics.recount([each.campaign_id for each in entries])
    metrics.close()
    publish(settings, 1)


def fill_vectors(settings: Settings, user_ids: list[str], campaign_ids: list[str]) -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(CLUSTERS, DIMENSION))
    vectors = Vectors(settings)
    vectors.prepare(messages=MESSAGES, users=USERS, campaigns=TEXTS, dimension=DIMENSION)
    vectors.upsert_users(USERS, around(centres, user_ids, rng))
    vectors.upsert_campaigns(TEXTS, around(centres, campaign_ids, rng))
    vectors.settle(USERS)
    vectors.settle(TEXTS)
    vectors.close()


def around(centres: np.ndarray, ids: list[str], rng: np.random.Generator) -> dict[str, Vector]:
    """For each id a vector of length 1 near one of the centres, float32, (dimension,)."""
    drawn = centres[rng.integers(len(centres), size=len(ids))] + rng.normal(size=(len(ids), centres.shape[1]))
    unit = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return dict(zip(ids, unit, strict=True))


def publish(settings: Settings, number: int) -> None:
    """Makes this the current release, which outdates every answer."""
    made = Release(
        number=number,
        digest=f"d{number}",
        message_vectors=MESSAGES,
        user_vectors=USERS,
        campaign_vectors=TEXTS,
        model="made-up",
        dimension=DIMENSION,
        sequence=number,
    )
    documents, cache = Documents(settings), Cache(settings)
    documents.prepare()
    documents.put_release(made)
    cache.publish(made)
    documents.close()
    cache.close()
