"""What Dagster shows of the platform, checked without any server."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from platform_assets import assets
from platform_assets.definitions import defs

GRAPH = defs.resolve_asset_graph()
KEYS = {key.to_user_string() for key in GRAPH.get_all_asset_keys()}
EDGES = {
    "raw_docs": set(),
    "embeddings": {"raw_docs"},
    "vectors": {"embeddings"},
    "graph": {"raw_docs"},
    "metrics": {"raw_docs"},
    "release": {"vectors", "graph", "metrics"},
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
    assert {name for name, blocking in checks.items() if not blocking} == {"the_published_release_is_the_latest"}


def test_the_sensor_and_the_schedule_launch_the_same_job_and_are_on() -> None:
    repository = defs.get_repository_def()
    inbox, nightly = repository.get_sensor_def("inbox"), repository.get_schedule_def("nightly")
    assert inbox.job_name == nightly.job_name == "refresh"
    assert inbox.default_status == dg.DefaultSensorStatus.RUNNING
    assert nightly.default_status == dg.DefaultScheduleStatus.RUNNING


def test_importing_the_definitions_connects_to_nothing() -> None:
    code = "import socket; socket.socket.connect = None; import platform_assets.definitions"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
