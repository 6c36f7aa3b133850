"""One history of loads under faults, with a reader asking all the while, compared with loads from nothing."""

import random
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import httpx
from msgspec import Struct
from redis import Redis

from local.engines import RunningEngines
from local.processes import CannotStart
from stores.documents import Documents
from stores.settings import Settings, load_settings
from tests.conftest import wipe
from tests.faults.contents import contents_of, differences
from tests.faults.history import CUSTOMERS, History, as_file
from tests.faults.process import Outcome, RefreshProcess
from tests.faults.reader import Reader

ASSETS = ("raw_docs", "embeddings", "vectors", "graph", "metrics", "release")
USUAL_S = 0.5
IMPATIENT_S = 2.0
OUT_S = 3.0
STARTS = 3
DIFFERENCES_SHOWN = 10

How = Literal["kill the refresh", "kill the engine", "freeze the engine", "refuse writes"]


class Fault(Struct, frozen=True, kw_only=True):
    """What goes wrong: `how`, while `asset` is being materialized; `store` is whose engine, where it is an engine's fault."""

    how: How
    asset: str
    store: str = ""


class Struck(Struct, frozen=True, kw_only=True):
    """What a fault did to the refresh: the step it died in, or what failed, or nothing."""

    fault: Fault
    killed_in: str | None
    after_s: float
    survived: bool
    failures: tuple[str, ...]


class Side(Struct, frozen=True, kw_only=True):
    """Stores of one's own: the engines that they are on, and the variables that lead to them."""

    engines: RunningEngines
    environment: Mapping[str, str]
    scratch: Path

    @property
    def settings(self) -> Settings:
        return load_settings(self.environment)

    def refresh(self, *, patience_s: float = 60.0) -> RefreshProcess:
        """Begins a refresh, in which no call may take longer than `patience_s`."""
        return RefreshProcess({**self.environment, "CAMPAIGNS_WRITE_TIMEOUT_S": f"{patience_s:g}"}, self.scratch)

    def put(self, name: str, content: bytes) -> None:
        """Puts a file into the inbox, whole at once."""
        inbox = Path(self.settings.inbox_dir)
        (inbox / f"{name}.tmp").write_bytes(content)
        (inbox / f"{name}.tmp").rename(inbox / name)


class Trial:
    """Loads one history on `tried` under faults. `fresh` has engines of its own, for the loads from nothing."""

    def __init__(self, tried: Side, fresh: Side, reader: Reader, *, seed: int) -> None:
        self._tried, self._fresh, self.reader = tried, fresh, reader
        self._rng = random.Random(seed)
        self._files: list[str] = []
        self._usual_s: dict[str, float] = {}
        self.history = History(seed)
        self.struck: list[Struck] = []
        self.compared = 0
        self.found: list[str] = []
        self.restarts: list[str] = []

    def load(self, *, lines: int = 40) -> None:
        """Puts the next file of the history into the inbox."""
        content = as_file(self.history.load(lines) if self._files else self.history.first_load())
        self._files.append(f"{len(self._files):05d}.jsonl")
        self._tried.put(self._files[-1], content)

    def strike(self, fault: Fault) -> Struck:
        """A refresh in which the fault happens at a random moment of the asset."""
        within_s = self._rng.random() * self._usual_s.get(fault.asset, USUAL_S)
        running = self._tried.refresh(patience_s=IMPATIENT_S if fault.store else 60.0)
        with ExitStack() as over:
            if running.reached(fault.asset):
                time.sleep(within_s)
                if fault.how == "kill the refresh":
                    running.kill()
                else:
                    over.enter_context(self.reader.outage(fault.store))
                    with self._out_of_order(fault):
                        time.sleep(OUT_S)
            outcome = running.ended()
        struck = Struck(
            fault=fault,
            killed_in=outcome.inside if outcome.killed else None,
            after_s=round(outcome.after_s, 3),
            survived=outcome.succeeded,
            failures=outcome.failures,
        )
        self.struck.append(struck)
        return struck

    @contextmanager
    def _out_of_order(self, fault: Fault) -> Iterator[None]:
        engines = self._tried.engines
        match fault.how, fault.store:
            case "refuse writes", "sql":
                with sqlite3.connect(self._tried.settings.sql_url.removeprefix("sqlite:///"), isolation_level=None) as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    yield
                    connection.execute("ROLLBACK")
                connection.close()
            case "refuse writes", "redis":
                with Redis.from_url(self._tried.settings.redis_url) as redis:
                    (before,) = redis.config_get("maxmemory").values()
                    redis.config_set("maxmemory", 1)
                    yield
                    redis.config_set("maxmemory", before)
            case "freeze the engine", store:
                engines.pause(store)
                yield
                engines.resume(store)
            case _, store:
                engines.kill(store)
                yield
                self._start(store)

    def _start(self, store: str) -> None:
        """Starts an engine again, as often as a supervisor would: one may die of its own while it starts."""
        for more in reversed(range(STARTS)):
            try:
                self._tried.engines.start(store)
            except CannotStart as exc:
                self.restarts.append(str(exc).splitlines()[0])
                if not more:
                    raise
            else:
                return

    def undisturbed(self) -> Outcome:
        """A refresh in which nothing happens. It must succeed."""
        outcome = self._tried.refresh().ended()
        if not outcome.succeeded:
            self.found.append(f"an undisturbed refresh failed: {outcome.failures}")
        self._usual_s |= {name: seconds for name, seconds in outcome.seconds.items() if name in ASSETS}
        return outcome

    def compare(self) -> list[str]:
        """What is other than after a load of the final input from nothing, and what is not accounted for; all of it is kept."""
        self.undisturbed()
        wipe(self._fresh.settings)
        fresh = untouched(self._fresh, self.compared)
        fresh.put("all.jsonl", as_file(self.history.final_entries))
        if not (loaded := fresh.refresh().ended()).succeeded:
            raise RuntimeError(f"the load from nothing failed: {loaded.failures}")
        differing = (
            differences(contents_of(self._tried.settings), contents_of(fresh.settings)) + self._unaccounted() + self._stale_answers()
        )
        again = self.undisturbed()
        if any(again.changed.values()):
            differing.append(f"a second refresh wrote again: {again.changed}")
        self.compared += 1
        self.found += [f"comparison {self.compared}: {line}" for line in differing[:DIFFERENCES_SHOWN]]
        return differing

    def _unaccounted(self) -> Iterator[str] | list[str]:
        """Files without exactly one balanced report, and malformed lines that are not in quarantine exactly once."""
        documents = Documents(self._tried.settings)
        try:
            reports, quarantined = documents.files(10_000), documents.quarantined(10_000)
        finally:
            documents.close()
        faults = [f"files: {report.name} does not add up" for report in reports if not report.balances]
        if sorted(report.name for report in reports) != self._files:
            faults.append(f"files: {sorted(report.name for report in reports)}, not {self._files}")
        if len(quarantined) != len(self.history.quarantined):
            faults.append(f"quarantine: {len(quarantined)} lines, not {len(self.history.quarantined)}")
        return faults

    def _stale_answers(self) -> list[str]:
        """Answers that the API gives otherwise than it would compute them now."""
        faults = []
        with httpx.Client(base_url=self._tried.settings.api_url, timeout=30) as api:
            for user_id in CUSTOMERS:
                given, computed = (api.get(f"/recommendations/{user_id}{how}").json() for how in ("", "?explain=true"))
                shown = [
                    [(each["campaign_id"], each["ranking_score"]) for each in one.get("recommendations", ())] for one in (given, computed)
                ]
                if shown[0] != shown[1]:
                    faults.append(f"answers: {user_id} is given {shown[0]}, but {shown[1]} is computed")
        return faults


def untouched(side: Side, number: int) -> Side:
    """The same engines with databases that nothing was loaded into yet."""
    sql = side.scratch / f"fresh_{number}.sqlite3"
    inbox = side.scratch / f"inbox_{number}"
    inbox.mkdir()
    own = {
        "CAMPAIGNS_MONGO_DATABASE": f"fresh_{number}",
        "CAMPAIGNS_SQL_URL": f"sqlite:///{sql}",
        "CAMPAIGNS_INBOX_DIR": str(inbox),
    }
    return Side(engines=side.engines, environment={**side.environment, **own}, scratch=side.scratch)
