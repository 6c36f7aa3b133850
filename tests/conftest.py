"""Running engines for every test that needs them, and clean settings that lead to them.

The engines are started once per session on free ports. With TEST_SERVERS=wipe the addresses in the environment are used
instead; those servers' data is deleted, which is why no CAMPAIGNS_* variable alone is enough.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from neo4j import GraphDatabase
from pymongo import MongoClient
from redis import Redis

from local.engines import ADDRESSES, CREDENTIALS, RunningEngines, running_engines
from stores.settings import Settings, load_settings
from stores.vectors import STATE, Vectors


def pytest_collection_finish() -> None:
    """What collecting has imported stays to the end; the garbage collector need not look through it again and again, nor so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngines]:
    """The four engines, for the whole session. A test that stops or freezes one need not bring it back."""
    may_wipe = os.environ.get("TEST_SERVERS") == "wipe"
    given = {name: os.environ[name] for name in (*ADDRESSES.values(), *CREDENTIALS) if may_wipe and name in os.environ}
    with running_engines(tmp_path_factory.mktemp("engines"), given) as running:
        yield running
        throw_away(running)


@pytest.fixture
def environment(engines: RunningEngines, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The CAMPAIGNS_* variables of one test, for a process that it starts: empty stores, an inbox and SQL in `tmp_path`.

    The timeouts are wide, because several suites may share the machine; a test of a timeout sets its own.
    """
    engines.restore()
    (tmp_path / "inbox").mkdir()
    (tmp_path / "no.env").touch()  # keeps the addresses of a running `campaigns up` out of the tests
    variables = engines.environment | {
        "CAMPAIGNS_ENV_FILE": str(tmp_path / "no.env"),
        "CAMPAIGNS_MONGO_DATABASE": f"test_{uuid4().hex[:12]}",
        "CAMPAIGNS_SQL_URL": f"sqlite:///{tmp_path / 'metrics.sqlite3'}",
        "CAMPAIGNS_INBOX_DIR": str(tmp_path / "inbox"),
        "CAMPAIGNS_QUALITY_DIR": str(tmp_path / "quality"),
        "CAMPAIGNS_READ_TIMEOUT_S": "5",
        "CAMPAIGNS_CACHE_TIMEOUT_S": "2",
        "CAMPAIGNS_ANSWER_TIMEOUT_S": "8",
    }
    wipe(load_settings(variables))
    yield variables
    engines.restore()
    with MongoClient(variables["CAMPAIGNS_MONGO_URL"]) as client:
        client.drop_database(variables["CAMPAIGNS_MONGO_DATABASE"])


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """Settings that lead to empty stores, for one test."""
    return load_settings(environment)


def throw_away(engines: RunningEngines) -> None:
    """Ends engines whose data nobody wants: some would wait a quarter of a minute for clients that a test has left open."""
    for child in engines.children:
        child.kill()


def wipe(settings: Settings) -> None:
    """Empties Milvus, Neo4j and Redis; MongoDB and SQL are given a fresh database per test."""
    vectors = Vectors(settings)
    for name in (*vectors.collections(), STATE):
        vectors.drop(name)
    vectors.close()
    login = (settings.neo4j_user, settings.neo4j_password)
    with GraphDatabase.driver(settings.neo4j_url, auth=login) as neo4j:
        neo4j.execute_query("MATCH (n) DETACH DELETE n", database_=settings.neo4j_database)
    with Redis.from_url(settings.redis_url) as redis:
        redis.flushdb()
