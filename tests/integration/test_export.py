"""`campaigns export`: a customer gets everything that is held about them, and nothing of anybody else."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from local.engines import RunningEngines
from stores.settings import Settings
from tests.integration.refreshing import CAMPAIGNS, RECORDS, drop, load

STATED = {
    "message_id": "p1",
    "user_id": "u_1",
    "timestamp": "2026-01-10",
    "event": "profile",
    "consent": {"email": True},
    "attributes": {"tier": "gold"},
}
EXTRA = RECORDS[0] | {"mood": "curious", "nested": {"a": [1, None]}, "session_id": "s1"}
WAITS = {"message_id": "w1", "user_id": "u_1", "timestamp": "2026-03-01", "message": "still in the inbox"}


def run(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner(env=environment).invoke(main, ["export", *arguments])


@pytest.fixture
def loaded(settings: Settings) -> Settings:
    unreadable = [b'{"user_id": "u_1", "message": "no time"}', b'{"user_id": "u_2", "message": "no time"}']
    load(settings, *CAMPAIGNS, EXTRA, *RECORDS[1:], STATED, *unreadable)
    drop(settings, WAITS, WAITS | {"user_id": "u_2", "message_id": "w2"})
    return settings


def test_everything_about_a_customer_is_in_it_and_nothing_of_others(environment: dict[str, str], loaded: Settings) -> None:
    result = run(environment, "u_1")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert [record["message_id"] for record in found["records"]] == ["m1", "m2", "m8", "p1"]
    known = {"consent": {"email": True}, "suppressed": None, "attributes": {"tier": "gold"}}
    assert found["records"][3]["profile"] == found["ties"]["profile"] == known
    first = found["records"][0]
    assert (first["message"], first["timestamp"], first["session_id"]) == (EXTRA["message"], "2026-01-01T08:00:00Z", "s1")
    assert first["extra"] == {"mood": "curious", "nested": {"a": [1, None]}}
    assert [each["raw"] for each in found["quarantine"]] == ['{"user_id": "u_1", "message": "no time"}']
    assert [(each["file"], [record["message_id"] for record in each["records"]]) for each in found["inbox"]] == [
        (next(Path(loaded.inbox_dir).iterdir()).name, ["w1"])
    ]
    assert found["ties"]["engaged_with"]["c_tents"]["count"] == 1
    assert found["engagement"]["c_tents"] == {"count": 1, "weight": 2.0, "last_at_ms": 1767340800000}
    assert sorted(each["vectors"] for each in found["vectors"]) == [1, 1]
    assert found["being_forgotten"] is False
    assert "u_2" not in result.output


def test_a_customer_of_whom_nothing_is_held_is_told_so(environment: dict[str, str], loaded: Settings) -> None:
    found = json.loads(run(environment, "nobody").output)
    assert (found["records"], found["quarantine"], found["inbox"], found["ties"], found["vectors"]) == ([], [], [], None, [])


def test_a_file_is_for_its_owners_eyes_only_and_never_overwritten(environment: dict[str, str], loaded: Settings, tmp_path: Path) -> None:
    target = tmp_path / "u_1.json"
    assert run(environment, "u_1", "--output", str(target)).exit_code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert json.loads(target.read_bytes())["user_id"] == "u_1"
    refused = run(environment, "u_1", "--output", str(target))
    assert (refused.exit_code, "File exists" in refused.output) == (1, True)
    assert [path.name for path in tmp_path.glob("u_1.json*")] == ["u_1.json"]


def test_an_export_fails_rather_than_leave_a_store_out(environment: dict[str, str], loaded: Settings, engines: RunningEngines) -> None:
    engines.kill("neo4j")
    refused = run(environment | {"CAMPAIGNS_WRITE_TIMEOUT_S": "2"}, "u_1")
    assert (refused.exit_code, refused.output.startswith("Error: neo4j: ")) == (1, True)
    assert run(environment, "no id").exit_code == 2
