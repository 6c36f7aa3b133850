"""The sensor on the inbox, tick by tick, on an instance of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from platform_assets.automation import inbox, refresh
from stores.settings import PREFIX, Settings
from tests.integration.refreshing import RECORDS, drop


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose inbox the sensor looks at; it asks no store."""
    (tmp_path / "no.env").touch()
    (tmp_path / "inbox").mkdir()
    monkeypatch.setenv("CAMPAIGNS_ENV_FILE", str(tmp_path / "no.env"))
    monkeypatch.setenv(f"{PREFIX}INBOX_DIR", str(tmp_path / "inbox"))
    return Settings(inbox_dir=str(tmp_path / "inbox"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def tick(instance: dg.DagsterInstance, cursor: str | None) -> tuple[list[str], str | None]:
    """One look at the inbox: the run keys that it asks for, and the cursor it leaves."""
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        found = inbox(context)
    if isinstance(found, dg.SkipReason):
        return [], cursor
    return [request.run_key for request in found.run_requests or []], found.cursor


def test_an_empty_inbox_asks_for_nothing(watched: Settings, instance: dg.DagsterInstance) -> None:
    assert tick(instance, None) == ([], None)


def test_a_file_asks_for_one_refresh_and_the_next_look_for_none(watched: Settings, instance: dg.DagsterInstance) -> None:
    drop(watched, *RECORDS)
    keys, cursor = tick(instance, None)
    assert len(keys) == 1
    assert tick(instance, cursor) == ([], cursor)


def test_an_inbox_that_returns_to_an_earlier_state_asks_again(watched: Settings, instance: dg.DagsterInstance) -> None:
    path = drop(watched, *RECORDS, name="a.jsonl")
    first, cursor = tick(instance, None)
    content, times = path.read_bytes(), path.stat()
    path.unlink()
    none, cursor = tick(instance, cursor)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    again, _ = tick(instance, cursor)
    assert (len(first), none, len(again)) == (1, [], 1)
    assert first != again


def test_a_file_still_being_written_is_not_seen(watched: Settings, instance: dg.DagsterInstance) -> None:
    path = drop(watched, *RECORDS)
    path.rename(path.with_suffix(".tmp"))
    assert tick(instance, None) == ([], None)


def test_a_refresh_that_has_not_begun_takes_the_files_and_no_other_is_asked_for(watched: Settings, instance: dg.DagsterInstance) -> None:
    drop(watched, *RECORDS)
    run = instance.create_run_for_job(
        dg.Definitions(jobs=[dg.job(name="refresh")(lambda: None)]).resolve_job_def("refresh"), status=dg.DagsterRunStatus.NOT_STARTED
    )
    assert tick(instance, None) == ([], None)
    instance.report_run_failed(run)
    keys, _ = tick(instance, None)
    assert len(keys) == 1
    assert refresh.name == run.job_name
