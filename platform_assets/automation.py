"""When things run: one refresh job for the inbox sensor and the nightly schedule, and a catch-all for what is run by hand."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import dagster as dg

from stores.intake import pending
from stores.settings import load_settings

SENSOR_INTERVAL_S = 5

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.all(),
    description="Takes the files of the inbox and brings every store and the release up to date. Changes nothing where nothing is new.",
)

NOT_BEGUN = dg.RunsFilter(
    job_name="refresh", statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
)

nightly = dg.ScheduleDefinition(
    name="nightly",
    job=refresh,
    cron_schedule="30 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A refresh every night at 02:30 UTC, whether or not a file has come.",
)


@dg.sensor(job=refresh, minimum_interval_seconds=SENSOR_INTERVAL_S, default_status=dg.DefaultSensorStatus.RUNNING)
def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Launches a refresh when the files of the inbox are other than at the last look. Files still being written are not seen."""
    folder = Path(load_settings(os.environ).inbox_dir)
    seen = json.loads(context.cursor) if context.cursor else {"sequence": 0, "fingerprint": fingerprint(())}
    now = fingerprint(pending(folder))
    if now == seen["fingerprint"]:
        return dg.SkipReason(f"no new file in {folder}")
    if context.instance.get_runs_count(NOT_BEGUN):
        return dg.SkipReason("a refresh that has not begun yet will take the new files")
    # the sequence makes each run key new: by its fingerprint alone, an inbox that returns to an earlier state would be skipped
    sequence = seen["sequence"] + 1
    requests = [dg.RunRequest(run_key=f"{sequence}-{now}")] if now != fingerprint(()) else []
    return dg.SensorResult(run_requests=requests, cursor=json.dumps({"sequence": sequence, "fingerprint": now}))


catch_up = dg.AutomationConditionSensorDefinition(
    "catch_up",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Brings what lies downstream up to date when somebody has materialized an asset by hand.",
)


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest over the names, sizes and times of files that may vanish at any moment."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        digest.update(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def on_new_data() -> dg.AutomationCondition:
    """Run when the content above has changed, by its data version, unless a run is at it already.

    It catches what somebody materialized by hand; a whole refresh leaves nothing for it to do.
    """
    condition = dg.AutomationCondition
    changed = condition.newly_missing() | condition.code_version_changed() | condition.any_deps_match(condition.data_version_changed())
    return (
        changed.since_last_handled()
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
        & condition.all_deps_blocking_checks_passed()
    ).with_label("on_new_data")
