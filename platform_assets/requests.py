"""What the API asks of Dagster, by what it leaves in MongoDB: to take posted events, and to forget customers."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from platform_assets.automation import FORGET, NOT_BEGUN, SENSOR_INTERVAL_S, forget, refresh
from stores.documents import Documents
from stores.errors import StoreError
from stores.posted import came_at_ns
from stores.settings import load_settings

QUIET_S = 2.0
LONGEST_S = 10.0

FORGETTING = dg.RunsFilter(
    job_name=FORGET,
    statuses=[
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ],
)


@dg.sensor(job=refresh, minimum_interval_seconds=SENSOR_INTERVAL_S, default_status=dg.DefaultSensorStatus.RUNNING)
def intake(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Launches a refresh for events that were posted: once none has come for 2 s, or the first of them waits for 10."""
    try:
        with documents() as found:
            waiting = found.intake.waiting()
    except StoreError as exc:
        return dg.SkipReason(f"{exc.store} does not answer")
    if not waiting or waiting[-1] == context.cursor:
        return dg.SkipReason("no new event")
    now_ns = time.time_ns()
    newest_s, oldest_s = ((now_ns - came_at_ns(key)) / 1e9 for key in (waiting[-1], waiting[0]))
    if newest_s < QUIET_S and oldest_s < LONGEST_S:
        return dg.SkipReason("events are coming in")
    if context.instance.get_runs_count(NOT_BEGUN):
        return dg.SkipReason("a refresh that has not begun yet will take the new events")
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=waiting[-1])], cursor=waiting[-1])


@dg.sensor(job=forget, minimum_interval_seconds=SENSOR_INTERVAL_S, default_status=dg.DefaultSensorStatus.RUNNING)
def erasure_requests(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Launches `forget` when customers asked to be forgotten, unless it runs already; once for the same requests as they stand."""
    try:
        with documents() as found:
            asked = [(each.mark, each.requested_at_ms, each.begun_at_ms) for each in found.erasures.pending()]
    except StoreError as exc:
        return dg.SkipReason(f"{exc.store} does not answer")
    seen = json.loads(context.cursor) if context.cursor else {"sequence": 0, "digest": ""}
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    if not asked or digest == seen["digest"]:
        return dg.SkipReason("nobody asked anew to be forgotten")
    if context.instance.get_runs_count(FORGETTING):
        return dg.SkipReason("a job that forgets is under way")
    sequence = seen["sequence"] + 1
    request = dg.RunRequest(run_key=f"{sequence}-{digest}")
    return dg.SensorResult(run_requests=[request], cursor=json.dumps({"sequence": sequence, "digest": digest}))


@contextmanager
def documents() -> Iterator[Documents]:
    found = Documents(load_settings(os.environ))
    try:
        yield found
    finally:
        found.close()
