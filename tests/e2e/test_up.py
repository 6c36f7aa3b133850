"""`campaigns up` as a person runs it: the first time, again, when a part dies, and when it is killed itself."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from msgspec import Struct

from local.environment import ROOT
from local.processes import free_port
from stores.settings import load_settings

READY_WITHIN_S = 240
GONE_WITHIN_S = 90  # a code server of Dagster whose parent was killed notices that after 45 s

pytestmark = pytest.mark.timeout(600)


class Place(Struct, frozen=True):
    """Where the stacks of this file run: one state, kept from one to the next."""

    state: Path
    inbox: Path
    api_port: int
    dagster_port: int

    def command(self, *options: str) -> list[str]:
        ports = ("--api-port", str(self.api_port), "--dagster-port", str(self.dagster_port))
        return [sys.executable, "-c", "from cli.main import main; main()", "up", "--json", "--state", str(self.state), *ports, *options]

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("CAMPAIGNS_")}
        return own | {"CAMPAIGNS_INBOX_DIR": str(self.inbox)}


class Up:
    """One running `campaigns up`, with everything that it told when it was ready and every process under it."""

    def __init__(self, place: Place, told: Path) -> None:
        self.told_to = told
        with told.open("w") as stderr:
            self.process = subprocess.Popen(
                place.command(), stdout=subprocess.PIPE, stderr=stderr, text=True, env=place.environment, cwd=ROOT, start_new_session=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.told
        self.ready = json.loads(line)
        wait_for("the UI", lambda: "✓ Dagster's UI" in self.told)
        self.processes = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def told(self) -> str:
        return self.told_to.read_text()

    def end(self, number: signal.Signals) -> int:
        """Sends the signal, waits for the end and for every process under it to be gone; the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(timeout=60)
        wait_for(f"the end of {self.left()}", lambda: not self.left(), timeout_s=GONE_WITHIN_S)
        return code

    def left(self) -> list[psutil.Process]:
        return [process for process in self.processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("up")
    return Place(folder / "state", folder / "inbox", free_port(), free_port())


@pytest.fixture
def up(place: Place, tmp_path: Path) -> Iterator[Up]:
    running = Up(place, tmp_path / "told")
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGTERM)


def test_the_first_up_loads_the_sample_and_ends_with_recommendations(up: Up, place: Place) -> None:
    answer = up.ready["answer"]
    assert answer["user_id"] == "u_001"
    assert answer["retrieval_source"] == "computed"
    assert len(answer["recommendations"]) == 3
    for asset in ("raw_docs", "embeddings", "vectors", "graph", "metrics", "release"):
        assert any(line.split()[:1] == [asset] and line.endswith(" s") for line in up.told.splitlines()), up.told
    assert "✗" not in up.told

    again = httpx.get(f"{up.ready['api_url']}/recommendations/u_001?limit=3").json()
    assert again == answer | {"retrieval_source": "cache"}

    env_file = place.state / "platform.env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    settings = load_settings({"CAMPAIGNS_ENV_FILE": str(env_file)})
    assert (settings.api_url, settings.inbox_dir) == (up.ready["api_url"], str(place.inbox))

    refused = subprocess.run(place.command(), capture_output=True, text=True, env=place.environment, cwd=ROOT, check=False)
    assert refused.returncode == 2
    assert refused.stderr == f"✗ port {place.api_port} is taken; choose another with --api-port (make up API_PORT=…)\n"

    elsewhere = place.command("--api-port", str(free_port()), "--dagster-port", str(free_port()))
    refused = subprocess.run(elsewhere, capture_output=True, text=True, env=place.environment, cwd=ROOT, check=False)
    assert refused.returncode == 1
    assert refused.stderr == f"✗ {place.state} is in use by another `campaigns up` (process {up.process.pid})\n"

    assert up.end(signal.SIGTERM) == 0
    assert not env_file.exists()


def test_a_second_up_answers_from_its_state_without_loading_again(up: Up) -> None:
    assert up.ready["answer"]["user_id"] == "u_001"
    assert up.ready["answer"]["recommendations"]
    assert "Refresh" not in up.told
    assert up.told.index("Ready after") < up.told.index("✓ Dagster's UI")
    assert up.end(signal.SIGINT) == 0


def test_when_a_part_dies_it_is_said_and_everything_stops(up: Up) -> None:
    redis = next(process for process in up.processes if "redis-server" in process.name())
    redis.kill()
    assert up.ended() == 1
    said = [line for line in up.told.splitlines() if line.startswith("✗")]
    assert len(said) == 1
    assert said[0].startswith("✗ redis (")
    assert " ended with code -9; the end of " in said[0]


def test_nothing_outlives_an_up_that_is_killed(up: Up) -> None:
    assert len(up.processes) >= 9
    assert up.end(signal.SIGKILL) == -9


def test_a_bad_setting_is_one_line_that_names_the_variable(place: Place) -> None:
    environment = place.environment | {"CAMPAIGNS_CACHE_TTL_S": "soon"}
    refused = subprocess.run(place.command(), capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("✗ CAMPAIGNS_CACHE_TTL_S: ")
    assert refused.stderr.count("\n") == 1


def test_a_taken_port_of_dagster_names_its_own_option(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.dagster_port)):
        refused = subprocess.run(place.command(), capture_output=True, text=True, env=place.environment, cwd=ROOT, check=False)
    assert refused.returncode == 2
    assert refused.stderr == f"✗ port {place.dagster_port} is taken; choose another with --dagster-port (make up DAGSTER_PORT=…)\n"


def wait_for(what: str, true, *, timeout_s: float = READY_WITHIN_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s"
        time.sleep(0.1)
