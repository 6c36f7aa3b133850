"""What Dagster shows of the platform, checked without any server."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from local import dagster_runs
from platform_assets import assets
from platform_assets.automation import VERIFICATION, rebuild, refresh, verify
from platform_assets.definitions import defs
from platform_assets.rebuilding import ASSETS, TAG

GRAPH = defs.resolve_asset_graph()
KEYS = {key.to_user_string() for key in GRAPH.get_all_asset_keys()}
EDGES = {
    "raw_docs": set(),
    "embeddings": {"raw_docs"},
    "vectors": {"embeddings"},
    "graph": {"raw_docs"},
    "metrics": {"raw_docs"},
    "ranking_model": {"vectors", "graph", "metrics"},
    "ranking_quality": {"ranking_model"},
    "release": {"vectors", "graph", "metrics", "ranking_model", "ranking_quality"},
    "erasures": {"release"},
}


def test_definitions_load_with_every_server_down() -> None:
    dg.Definitions.validate_loadable(defs)


def test_every_asset_file_is_in_the_definitions() -> None:
    folder = Path(assets.__file__).parent
    assert {path.stem for path in folder.glob("[!_]*.py")} == KEYS


def test_the_graph_is_the_one_of_the_design() -> None:
    assert {
        key.to_user_string(): {parent.to_user_string() for parent in GRAPH.get(key).parent_keys} for key in GRAPH.get_all_asset_keys()
    } == EDGES


@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_asset_says_who_owns_it_what_it_is_and_how_it_is_checked(name: str) -> None:
    node = GRAPH.get(dg.AssetKey(name))
    assert node.group_name != "default"
    assert node.kinds
    assert node.owners
    assert node.code_version
    assert node.description
    assert node.pools
    assert any(key.asset_key == node.key for key in GRAPH.asset_check_keys)


def test_everything_a_reader_depends_on_blocks_the_release() -> None:
    checks = {key.name: defs.resolve_asset_graph().get(key).blocking for key in GRAPH.asset_check_keys}
    assert {name for name, blocking in checks.items() if not blocking} == {
        "the_published_release_is_the_latest",
        "what_is_served_is_better_than_popularity",
        "every_store_holds_what_the_records_say",
    }


def test_the_sensor_and_the_schedule_launch_the_same_job_and_are_on() -> None:
    repository = defs.get_repository_def()
    inbox, nightly = repository.get_sensor_def("inbox"), repository.get_schedule_def("nightly")
    assert inbox.job_name == nightly.job_name == "refresh"
    assert inbox.default_status == dg.DefaultSensorStatus.RUNNING
    assert nightly.default_status == dg.DefaultScheduleStatus.RUNNING


def test_the_sensors_on_what_the_api_asks_for_are_on() -> None:
    sensors = {each.name: each for each in defs.get_repository_def().sensor_defs}
    assert {name: sensors[name].job_name for name in ("intake", "erasure_requests")} == {"intake": "refresh", "erasure_requests": "forget"}
    assert {sensors[name].default_status for name in ("intake", "erasure_requests")} == {dg.DefaultSensorStatus.RUNNING}


def test_only_the_nightly_verification_looks_through_everything() -> None:
    schedule = defs.get_repository_def().get_schedule_def("nightly_verification")
    assert (schedule.job_name, schedule.default_status) == ("verify", dg.DefaultScheduleStatus.RUNNING)
    steps = {job.name: {node.name for node in defs.resolve_job_def(job.name).nodes} for job in (refresh, rebuild, verify)}
    assert steps["verify"] == {VERIFICATION.name}
    assert VERIFICATION.name not in steps["refresh"] | steps["rebuild"]
    assert steps["refresh"] == steps["rebuild"] > KEYS


def test_the_command_and_the_job_speak_of_rebuilds_in_the_same_words() -> None:
    assert (rebuild.name, TAG, ASSETS) == (dagster_runs.REBUILD, dagster_runs.REBUILD_TAG, dagster_runs.REBUILDABLE)
    assert defs.resolve_job_def("rebuild").tags[TAG] == ",".join(ASSETS)


def test_importing_the_definitions_connects_to_nothing() -> None:
    code = "import socket; socket.socket.connect = None; import platform_assets.definitions"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
