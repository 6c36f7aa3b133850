"""The four engines of one machine: they start, keep their data through a crash, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from neo4j import GraphDatabase
from pymilvus import MilvusClient
from pymongo import MongoClient
from redis import Redis

from local.engines import ADDRESSES, CREDENTIALS, RunningEngines, StateLocked, running_engines
from local.health import HEALTHY
from local.processes import CannotStart, PortTaken, free_port
from stores.settings import Settings

NAMES = list(ADDRESSES)
ELSEWHERE = dict.fromkeys(ADDRESSES.values(), "somewhere else")


@pytest.fixture(autouse=True)
def started_here(engines: RunningEngines) -> None:
    if engines.names != NAMES:
        pytest.skip("these servers were not started by the tests, which therefore may not kill them")


def mongodb(settings: Settings, value: str | None) -> object:
    with MongoClient(settings.mongo_url) as client:
        words = client[settings.mongo_database]["words"]
        if value:
            words.insert_one({"_id": "m:1", "value": value})
        return words.find_one({"_id": "m:1"})["value"]


def milvus(settings: Settings, value: str | None) -> object:
    client = MilvusClient(settings.milvus_url, timeout=20)
    try:
        if value:
            client.create_collection("words", dimension=4, id_type="string", max_length=64, auto_id=False)
            client.upsert("words", [{"id": "m:1", "vector": [1.0, 0.0, 0.0, 0.0], "value": value}])
        client.load_collection("words")
        return client.get("words", ids=["m:1"], output_fields=["value"])[0]["value"]
    finally:
        client.close()


def neo4j(settings: Settings, value: str | None) -> object:
    with GraphDatabase.driver(settings.neo4j_url, auth=(settings.neo4j_user, settings.neo4j_password)) as driver:
        if value:
            driver.execute_query("MERGE (w:Word {id: 'm:1'}) SET w.value = $value", value=value, database_=settings.neo4j_database)
        return driver.execute_query("MATCH (w:Word {id: 'm:1'}) RETURN w.value AS value").records[0]["value"]


def redis(settings: Settings, value: str | None) -> object:
    with Redis.from_url(settings.redis_url, decode_responses=True) as client:
        if value:
            client.set("word", value)
        return client.get("word")


WriteThenRead = Callable[[Settings, str | None], object]
WRITE_THEN_READ: dict[str, WriteThenRead] = {
    "mongodb": mongodb,
    "milvus": milvus,
    "neo4j": neo4j,
    "redis": redis,
}


@pytest.mark.parametrize("name", NAMES)
def test_data_survives_a_kill_and_a_restart_on_the_same_port(name: str, engines: RunningEngines, settings: Settings) -> None:
    assert WRITE_THEN_READ[name](settings, "kept") == "kept"
    before = engines.child(name).pid
    engines.kill(name)
    assert not engines.child(name).running
    engines.start(name)
    assert engines.child(name).pid != before
    assert WRITE_THEN_READ[name](settings, None) == "kept"


@pytest.mark.parametrize("name", NAMES)
def test_a_paused_engine_takes_connections_but_does_not_answer(name: str, engines: RunningEngines) -> None:
    place = engines.place(name)
    assert HEALTHY[name](place)
    engines.pause(name)
    assert not HEALTHY[name](place)
    engines.resume(name)
    assert HEALTHY[name](place)


def test_engines_listen_on_loopback_only(engines: RunningEngines) -> None:
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")
        for child in engines.children
        for process in (psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_the_password_is_private(engines: RunningEngines) -> None:
    folder = engines.place("neo4j").data.parent
    password = engines.environment["CAMPAIGNS_NEO4J_PASSWORD"]
    holders = {file: file.stat().st_mode & 0o777 for file in folder.iterdir() if file.is_file() and password in file.read_text()}
    assert holders == {folder / "password": 0o600, folder / "java.arguments": 0o600}
    assert not any(password in argument for child in engines.children for argument in psutil.Process(child.pid).cmdline())
    assert password not in engines.child("neo4j").log.read_text()


def test_a_second_stack_on_the_same_state_is_refused(engines: RunningEngines) -> None:
    state = engines.place("redis").data.parents[1]
    with pytest.raises(StateLocked) as refusal, running_engines(state, {}):
        pass
    assert str(refusal.value) == f"{state} is in use by another `campaigns up` (process {os.getpid()})"


def test_a_taken_port_is_said_before_anything_starts(engines: RunningEngines, tmp_path: Path) -> None:
    port = engines.place("redis").port
    with pytest.raises(PortTaken, match=f"^redis: port {port} is taken$"), running_engines(tmp_path / "state", {}, ports={"redis": port}):
        pass
    assert not (tmp_path / "state").exists()


def test_an_engine_whose_address_is_given_is_not_started(tmp_path: Path) -> None:
    given = ELSEWHERE | {"CAMPAIGNS_NEO4J_PASSWORD": "theirs", "UNRELATED": "x"}
    with running_engines(tmp_path, given) as running:
        assert running.names == []
        assert running.environment == ELSEWHERE | {"CAMPAIGNS_NEO4J_PASSWORD": "theirs"}
    assert set(running.environment) <= {*ADDRESSES.values(), *CREDENTIALS}


def test_an_engine_starts_on_the_port_that_was_asked_for_and_is_gone_after(tmp_path: Path) -> None:
    port = free_port()
    given = all_given_but("redis")
    with running_engines(tmp_path, given, ports={"redis": port}) as running:
        assert running.environment["CAMPAIGNS_REDIS_URL"] == f"redis://127.0.0.1:{port}/0"
        assert Redis(port=port).ping()
        pid = running.child("redis").pid
    assert not psutil.pid_exists(pid)


def test_an_engine_that_dies_says_so_with_the_end_of_its_log(tmp_path: Path) -> None:
    given = all_given_but("redis")
    (tmp_path / "redis" / "data").mkdir(parents=True)
    (tmp_path / "redis" / "data" / "appendonly.aof").write_text("no commands of Redis\n")
    with (
        pytest.raises(CannotStart, match=r"(?s)^redis \(.*\) ended with code 1; the end of .*redis\.log:\n.*Bad file format"),
        running_engines(tmp_path, given),
    ):
        pass


def test_a_state_begun_with_another_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    (tmp_path / "mongodb").mkdir()
    (tmp_path / "mongodb" / "program").write_text("mongod")
    given = all_given_but("mongodb")
    with (
        pytest.raises(CannotStart, match=r"^mongodb: mongod, which .* was begun with, is not installed; .*CAMPAIGNS_MONGO_URL"),
        running_engines(tmp_path, given),
    ):
        pass


def test_no_engine_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from local.engines import running_engines
        with running_engines(Path(sys.argv[1]), {}) as running:
            print(*(child.pid for child in running.children), flush=True)
            time.sleep(600)
    """
    root = Path(__file__).resolve().parents[2]
    supervisor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert supervisor.stdout is not None
    pids = [int(pid) for pid in supervisor.stdout.readline().split()]
    assert len(pids) == 4
    assert all(psutil.pid_exists(pid) for pid in pids)
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    supervisor.stdout.close()
    deadline = time.monotonic() + 10
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(pids) == []


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run; one that has died but was not waited for yet does not count."""
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def all_given_but(name: str) -> dict[str, str]:
    """Addresses for every engine but one, so that only that one is started."""
    return {variable: url for variable, url in ELSEWHERE.items() if variable != ADDRESSES[name]}
