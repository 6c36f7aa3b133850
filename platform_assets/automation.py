"""When things run: one refresh job for the inbox sensor and the nightly schedule, and a catch-all for what is run by hand."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import dagster as dg

from platform_assets.rebuilding import ASSETS, TAG
from stores.intake import pending
from stores.settings import load_settings

SENSOR_INTERVAL_S = 2  # less than the 5 s of the daemon's round: with 5 it was often not due yet, and waited for the next one
FORGET = "forget"

VERIFICATION = dg.AssetCheckKey(dg.AssetKey("release"), "every_store_holds_what_the_records_say")
EVERYTHING_BUT_VERIFICATION = dg.AssetSelection.all() - dg.AssetSelection.checks(VERIFICATION)

refresh = dg.define_asset_job(
    "refresh",
    selection=EVERYTHING_BUT_VERIFICATION,
    description="Takes the files of the inbox and brings every store and the release up to date. Changes nothing where nothing is new.",
)

rebuild = dg.define_asset_job(
    "rebuild",
    selection=EVERYTHING_BUT_VERIFICATION,
    tags={TAG: ",".join(ASSETS)},
    description=f"A refresh that writes the assets of the tag {TAG} anew, and publishes a release: vectors beside those in use, "
    "metrics in one transaction, embeddings and graph in place, each entry whole.",
)

verify = dg.define_asset_job(
    "verify",
    selection=dg.AssetSelection.checks(VERIFICATION),
    description="Compares the contents of all stores with the records, entry by entry. Writes nothing.",
)

forget = dg.define_asset_job(
    FORGET,
    selection=EVERYTHING_BUT_VERIFICATION,
    tags={"dagster/priority": "10"},
    description="Removes the customers who asked to be forgotten from every store. A refresh that leaves the files of the inbox where "
    "they are, so that nobody waits for those.",
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

nightly_verification = dg.ScheduleDefinition(
    name="nightly_verification",
    job=verify,
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A comparison of all stores every night at 03:30 UTC, after the refresh.",
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
