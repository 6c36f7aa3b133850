"""The whole platform as a person runs it, in the order of its life on one state, since a start takes long.

The first `campaigns up`, files in and answers out, Dagster's UI, the command, the README's own words, Ctrl-C; then a second `up`,
one that loses a part and one that is killed.
"""

import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.environment import ROOT
from local.processes import free_port
from stores.documents import Documents
from stores.settings import Settings, load_settings
from tests.e2e.dagster_ui import DAEMONS, DRY_RUN, SCHEDULE, SELECTOR, SENSOR, WORKSPACE, DagsterUI
from tests.e2e.stack import Place, Up, wait_for

pytestmark = pytest.mark.timeout(600)

ASSETS = ["embeddings", "erasures", "graph", "metrics", "ranking_model", "ranking_quality", "raw_docs", "release", "vectors"]
STRANGER = "We do not know you yet"
KNOWN_TEXT = "Do you run beginners' evenings on the bay? I have never stood on a board."
"""Of the sample, so that it has a vector and a run need not load the model."""
HTTP = httpx.Client(timeout=30)
ASKED_FOR = range(10_000, 20_000)
"""Ports that nothing else draws from: they must stay free while no `up` is running, and while it starts its engines."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("platform")
    return Place(folder / "state", folder / "inbox", free_port(ASKED_FOR), free_port(ASKED_FOR))


@contextmanager
def running_up(place: Place, told: Path) -> Iterator[Up]:
    running = Up(place, told)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGTERM)


@pytest.fixture(scope="module")
def up(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The first one, which the test of Ctrl-C ends."""
    with running_up(place, tmp_path_factory.mktemp("first") / "told") as running:
        yield running


@pytest.fixture(scope="module")
def settings(up: Up) -> Settings:
    return load_settings({"CAMPAIGNS_ENV_FILE": up.ready["env_file"]})


@pytest.fixture
def ui(settings: Settings) -> DagsterUI:
    return DagsterUI(settings.dagster_url)


def answer(settings: Settings, user_id: str, **query: object) -> httpx.Response:
    return HTTP.get(f"{settings.api_url}/recommendations/{user_id}", params=query)  # type: ignore[arg-type]


def campaigns(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in another terminal."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAMPAIGNS_")}
    return subprocess.run(
        [sys.executable, "-c", "from cli.main import main; main()", *arguments],
        env=environment | {"CAMPAIGNS_ENV_FILE": up.ready["env_file"]},
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )


def refused(place: Place, *options: str, **settings: str) -> tuple[int, str]:
    """The exit code of an `up` that is not to start, and what it says."""
    environment = place.environment | settings
    done = subprocess.run(place.command(*options), capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    return done.returncode, done.stderr


def records(user_id: str, *events: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"user_id": user_id, "timestamp": f"2026-08-29T1{n}:00:00Z"} | event for n, event in enumerate(events)]


def test_the_first_up_loads_the_sample_and_ends_with_recommendations(up: Up, place: Place) -> None:
    answer = up.ready["answer"]
    assert answer["user_id"] == "u_001"
    assert answer["retrieval_source"] == "computed"
    assert len(answer["recommendations"]) == 3
    for asset in ("raw_docs", "embeddings", "vectors", "graph", "metrics", "release"):
        assert any(line.split()[:1] == [asset] and line.endswith(" s") for line in up.told.splitlines()), up.told
    assert "✗" not in up.told

    again = HTTP.get(f"{up.ready['api_url']}/recommendations/u_001?limit=3").json()
    assert again == answer | {"retrieval_source": "cache"}

    env_file = place.state / "platform.env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    settings = load_settings({"CAMPAIGNS_ENV_FILE": str(env_file)})
    assert (settings.api_url, settings.inbox_dir) == (up.ready["api_url"], str(place.inbox))


def test_a_second_one_on_a_taken_port_or_on_the_same_state_is_refused_in_one_line(up: Up, place: Place) -> None:
    assert refused(place) == (2, f"✗ port {place.api_port} is taken; choose another with --api-port (make up API_PORT=…)\n")
    elsewhere = ("--api-port", str(free_port()), "--dagster-port", str(free_port()))
    in_use = f"✗ {place.state} is in use by another `campaigns up` (process {up.process.pid})\n"
    assert refused(place, *elsewhere) == (1, in_use)


def test_a_file_that_lands_in_the_inbox_reaches_the_answers_by_itself(settings: Settings) -> None:
    assert STRANGER in answer(settings, "u_new").json()["recommendations"][0]["reason"]
    before = int(answer(settings, "u_new").headers["x-release"])
    said = records(
        "u_new",
        {"message": "Which tent stays dry in heavy rain, and is there a warm sleeping bag to go with it?", "intent": "interest"},
        {"event": "click", "campaign_id": "c_104", "intent": "interest"},
        {"event": "dismissal", "campaign_id": "c_102"},
    )
    unfinished = Path(settings.inbox_dir) / "from_product.tmp"
    unfinished.write_text("\n".join(json.dumps(record) for record in said))
    unfinished.rename(unfinished.with_suffix(".jsonl"))
    wait_for("an answer of a later release", lambda: int(answer(settings, "u_new").headers["x-release"]) > before)
    found = answer(settings, "u_new", limit=100).json()["recommendations"]
    assert STRANGER not in found[0]["reason"]
    assert "c_102" not in {each["campaign_id"] for each in found}
    assert list(Path(settings.inbox_dir).iterdir()) == []


def test_posted_events_count_at_once_and_reach_the_stores_by_themselves(settings: Settings) -> None:
    before = answer(settings, "u_001", limit=100)
    disliked = before.json()["recommendations"][0]["campaign_id"]
    posted = records("u_001", {"event": "dismissal", "campaign_id": disliked})
    said = HTTP.post(f"{settings.api_url}/events", json=posted)
    after = answer(settings, "u_001", limit=100)
    assert (said.status_code, said.json()["accepted"]) == (202, 1)
    assert disliked not in {each["campaign_id"] for each in after.json()["recommendations"]}
    wait_for("a release with the event", lambda: int(answer(settings, "u_001").headers["x-release"]) > int(before.headers["x-release"]))
    documents = Documents(settings)
    wait_for("an empty intake", lambda: documents.counts("intake") == {"intake": 0})
    documents.close()
    assert disliked not in {each["campaign_id"] for each in answer(settings, "u_001", limit=100).json()["recommendations"]}


def test_a_customer_is_forgotten_by_a_request_to_the_api_alone(settings: Settings) -> None:
    asked = HTTP.delete(f"{settings.api_url}/users/u_002")
    assert (asked.status_code, STRANGER in answer(settings, "u_002").json()["recommendations"][0]["reason"]) == (202, True)
    status = settings.api_url + asked.headers["Location"]
    wait_for("the proof", lambda: HTTP.get(status).json()["status"] == "done")
    places = HTTP.get(status).json()["places"]
    assert places["mongodb raw_docs"]["found"] > 0
    assert {place["left"] for place in places.values()} == {0}


def test_the_ui_shows_the_asset_graph_with_green_checks(ui: DagsterUI) -> None:
    (location,) = ui.ask(WORKSPACE)["workspaceOrError"]["locationEntries"]
    assert (location["loadStatus"], location["locationOrLoadError"]["__typename"]) == ("LOADED", "RepositoryLocation")
    wait_for("the end of the refresh, whose last checks come after its release", ui.idle)
    nodes = ui.assets()
    assert sorted(nodes) == ASSETS
    for node in nodes.values():
        assert node["description"]
        assert node["kinds"]
        assert node["owners"] == [{"team": "data-platform"}]
        assert node["groupName"] in ("intake", "language", "serving")
        assert node["assetMaterializations"]
        checks = node["assetChecksOrError"]["checks"]
        assert checks
    run_checks = [check for node in nodes.values() for check in node["assetChecksOrError"]["checks"] if check["blocking"]]
    assert run_checks
    assert {check["executionForLatestMaterialization"]["status"] for check in run_checks} == {"SUCCEEDED"}
    daemons = ui.ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
    assert all(daemon["healthy"] for daemon in daemons if daemon["required"])


def test_materialize_all_works_and_says_that_nothing_changed(ui: DagsterUI, settings: Settings) -> None:
    before = answer(settings, "u_001").headers["x-release"]
    assert ui.ended(ui.materialize_all(ASSETS)) == "SUCCESS"
    for name, node in ui.assets().items():
        told = {entry["label"]: entry.get("text") for entry in node["assetMaterializations"][0]["metadataEntries"]}
        assert told["outcome"] in ("nothing changed", "no new file"), (name, told)
    assert answer(settings, "u_001").headers["x-release"] == before


def test_the_sensor_and_the_schedule_are_on_and_launch_the_refresh(ui: DagsterUI, settings: Settings) -> None:
    sensor = ui.ask(SENSOR, sensor=SELECTOR | {"sensorName": "inbox"})["sensorOrError"]
    schedule = ui.ask(SCHEDULE, schedule=SELECTOR | {"scheduleName": "nightly"})["scheduleOrError"]
    assert (sensor["sensorState"]["status"], sensor["targets"]) == ("RUNNING", [{"pipelineName": "refresh"}])
    assert (schedule["scheduleState"]["status"], schedule["pipelineName"]) == ("RUNNING", "refresh")
    dry_run = {"selector": SELECTOR | {"sensorName": "inbox"}, "cursor": ""}
    tried = ui.ask(DRY_RUN, **dry_run)["sensorDryRun"]
    assert "no new file" in tried["evaluationResult"]["skipReason"], tried


def test_load_reports_what_became_of_every_record(up: Up, tmp_path: Path, settings: Settings) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text("\n".join(json.dumps(record) for record in records("u_loaded", {"message": KNOWN_TEXT})))
    done = campaigns(up, "load", "--json", str(good))
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)["reports"]
    assert (report["read"], report["new"], report["quarantined"]) == (1, 1, 0)
    assert STRANGER not in answer(settings, "u_loaded").json()["recommendations"][0]["reason"]

    again = campaigns(up, "load", str(good))
    assert again.returncode == 0
    assert "reflects them" in again.stdout

    mixed = tmp_path / "mixed.csv"
    mixed.write_text(f"user_id,timestamp,message\nu_loaded,2026-08-30,{KNOWN_TEXT}\nnot an id,2026-08-30,hello\n")
    partly = campaigns(up, "load", "--json", str(mixed))
    assert partly.returncode == 3
    assert json.loads(partly.stdout)["reports"][0]["quarantined"] == 1
    assert "user_id" in partly.stderr

    hopeless = tmp_path / "hopeless.json"
    hopeless.write_text("nothing to read here")
    refused = campaigns(up, "load", str(hopeless))
    assert refused.returncode == 1
    assert "was not loaded" in refused.stderr


def test_recommend_and_status_speak_to_people_and_to_scripts(up: Up) -> None:
    shown = campaigns(up, "recommend", "u_001", "--limit", "3")
    assert shown.returncode == 0
    assert "c_1" in shown.stdout
    told = json.loads(campaigns(up, "recommend", "u_001", "--json").stdout)
    assert told["user_id"] == "u_001"
    assert campaigns(up, "recommend", "no such id").returncode == 2
    state = campaigns(up, "status", "--json")
    assert state.returncode == 0
    found = json.loads(state.stdout)
    assert {name for name, store in found["stores"].items() if store["reachable"]} == {"mongodb", "milvus", "neo4j", "redis", "sql"}
    assert found["release"]["number"] >= 1
    assert found["last_run"]["status"] in ("SUCCESS", "STARTED", "QUEUED", "STARTING")
    assert "Release" in campaigns(up, "status").stdout


def test_every_command_of_the_readme_does_what_it_shows(up: Up, settings: Settings) -> None:
    """`make up` and `make test` are run by whoever runs this test; everything else is run here, against this platform."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    commands = [line[2:].split("#")[0].strip() for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert {"make up", "make test"} <= set(commands)
    for command in commands:
        words = shlex.split(command.replace("http://127.0.0.1:8000", settings.api_url))
        if words[0] == "curl":
            assert HTTP.get(words[-1]).status_code == 200, command
        elif words[0].endswith("campaigns"):
            done = campaigns(up, *words[1:])
            assert done.returncode == 0, (command, done.stderr)
        elif words[0] == "export":
            name, _, value = words[1].partition("=")
            load_settings({name: value, "CAMPAIGNS_ENV_FILE": up.ready["env_file"]})
        else:
            assert words[0] == "make", command
            assert subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, check=False).returncode == 0, command


def test_ctrl_c_ends_every_process_and_takes_the_addresses_away(up: Up, place: Place) -> None:
    assert up.end(signal.SIGINT) == 0
    assert not (place.state / "platform.env").exists()


def test_a_second_up_answers_from_its_state_and_when_a_part_of_it_dies_everything_stops(place: Place, tmp_path: Path) -> None:
    with running_up(place, tmp_path / "told") as up:
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


def test_nothing_outlives_an_up_that_is_killed(place: Place, tmp_path: Path) -> None:
    with running_up(place, tmp_path / "told") as up:
        assert len(up.processes) >= 9
        assert up.end(signal.SIGKILL) == -9


def test_a_bad_setting_is_one_line_that_names_the_variable(place: Place) -> None:
    code, said = refused(place, CAMPAIGNS_CACHE_TTL_S="soon")
    assert code == 2
    assert said.startswith("✗ CAMPAIGNS_CACHE_TTL_S: ")
    assert said.count("\n") == 1


def test_a_taken_port_of_dagster_names_its_own_option(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.dagster_port)):
        said = refused(place)
    assert said == (2, f"✗ port {place.dagster_port} is taken; choose another with --dagster-port (make up DAGSTER_PORT=…)\n")
