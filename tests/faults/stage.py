"""Everything that a trial needs, running: two sets of engines, the API, a reader and a small embedding model."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from local.engines import RunningEngines, running_engines
from local.environment import ROOT
from local.processes import free_port, spawn, wait_until
from tests.conftest import throw_away
from tests.faults.history import CUSTOMERS
from tests.faults.reader import Reader
from tests.faults.trial import Side, Trial
from tests.small_roberta import build_small_roberta

API_WITHIN_S = 60.0
PATIENT = {"CAMPAIGNS_READ_TIMEOUT_S": "5", "CAMPAIGNS_CACHE_TIMEOUT_S": "2", "CAMPAIGNS_ANSWER_TIMEOUT_S": "8"}
"""Two cores run the stores twice, a refresh, the API and its reader: what is slow there is slow for want of cores."""


@contextmanager
def stage(folder: Path, *, seed: int, timeouts: Mapping[str, str] = PATIENT, pause_s: float = 0.1) -> Iterator[Trial]:
    """A trial on engines of its own, with release 1 out and the reader asking, `pause_s` after each answer."""
    folder.mkdir(parents=True)
    model = build_small_roberta(folder / "model")
    (folder / "no.env").touch()
    with running_engines(folder / "tried", {}) as tried, running_engines(folder / "fresh", {}) as fresh:
        sides = [side(name, engines, folder, timeouts, model) for name, engines in (("tried", tried), ("fresh", fresh))]
        address = httpx.URL(sides[0].settings.api_url)
        command = (sys.executable, "-m", "retrieval", "--host", "127.0.0.1", "--port", str(address.port))
        environment = {**os.environ, **sides[0].environment}
        api = spawn("api", command, log=folder / "api.log", environment=environment, directory=ROOT)
        try:
            wait_until(lambda: up(address), api, timeout_s=API_WITHIN_S)
            reader = Reader(sides[0].settings, str(address), CUSTOMERS, pause_s=pause_s)
            trial = Trial(*sides, reader, seed=seed)
            trial.load()
            trial.undisturbed()
            reader.start()
            yield trial
        finally:
            api.stop()
            throw_away(tried)
            throw_away(fresh)


def side(name: str, engines: RunningEngines, folder: Path, timeouts: Mapping[str, str], model: Path) -> Side:
    scratch = folder / name / "scratch"
    (scratch / "inbox").mkdir(parents=True)
    own = {
        "CAMPAIGNS_ENV_FILE": str(folder / "no.env"),
        "CAMPAIGNS_MONGO_DATABASE": name,
        "CAMPAIGNS_SQL_URL": f"sqlite:///{scratch / 'metrics.sqlite3'}",
        "CAMPAIGNS_INBOX_DIR": str(scratch / "inbox"),
        "CAMPAIGNS_QUALITY_DIR": str(scratch / "quality"),
        "CAMPAIGNS_EMBEDDING_MODEL": str(model),
        "CAMPAIGNS_BATCH_ROWS": "20",  # many batches in a small load: many places to be killed at
        "CAMPAIGNS_API_URL": f"http://127.0.0.1:{free_port()}",
    }
    return Side(engines=engines, environment=engines.environment | own | timeouts, scratch=scratch)


def up(address: httpx.URL) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(address.join("/health/live")).is_success
    return False
