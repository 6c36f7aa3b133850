"""`campaigns up` as a person runs it: the first time, again, when a part dies, and when it is killed itself."""

import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.environment import ROOT
from local.processes import free_port
from stores.settings import load_settings
from tests.e2e.stack import Place, Up

pytestmark = pytest.mark.timeout(600)


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


def test_a_second_up_answers_from_its_state_and_when_a_part_of_it_dies_everything_stops(up: Up) -> None:
    assert up.ready["answer"]["user_id"] == "u_001"
    assert up.ready["answer"]["recommendations"]
    assert "Refresh" not in up.told
    assert up.told.index("Ready after") < up.told.index("✓ Dagster's UI")

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
