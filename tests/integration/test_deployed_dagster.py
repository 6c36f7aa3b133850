"""The Dagster instance of docker-compose.yml on a real PostgreSQL, and the commands its services are started with."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml
from sqlalchemy.engine import make_url

from tests.contract.sql_databases import fresh_database, postgresql

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
COMMANDS = {name: service["command"] for name, service in SERVICES.items() if name.startswith("dagster-")}
THREADS = 8


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance as deploy/dagster.yaml describes it, in an empty database, with its logs in `tmp_path`."""
    config = yaml.safe_load((ROOT / "deploy/dagster.yaml").read_text().replace("/var/lib/campaigns", str(tmp_path)))
    scheme = config["storage"]["postgres"]["postgres_db"]["scheme"]
    with postgresql() as server, fresh_database(server) as database:
        url = make_url(database).set(drivername=scheme)
        config["storage"] = {"postgres": {"postgres_url": url.render_as_string(hide_password=False)}}
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
        with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
            yield opened


@dg.asset
def told() -> None:
    print("told by the asset")  # noqa: T201


def test_runs_are_kept_in_postgresql_and_read_by_many_threads(instance: dg.DagsterInstance) -> None:
    result = dg.materialize([told], instance=instance)
    with ThreadPoolExecutor(THREADS) as threads:
        counts = list(threads.map(lambda _: (instance.get_runs_count(), len(instance.all_logs(result.run_id)) > 0), range(20 * THREADS)))
    assert set(counts) == {(1, True)}
    assert instance.get_latest_materialization_event(dg.AssetKey("told"))


def test_what_a_run_prints_is_kept_under_the_shared_folder(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = dg.materialize([told], instance=instance)
    printed = list((tmp_path / "logs" / result.run_id / "compute_logs").glob("*.out"))
    assert "told by the asset" in printed[0].read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_dagster_knows_the_command_and_options_of(name: str) -> None:
    program, *arguments = COMMANDS[name]
    scripts = Path(sys.executable).parent
    # options that do not exist are refused before --help is looked at
    shown = subprocess.run([scripts / program, *arguments, "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"^Usage: ", shown.stdout)
