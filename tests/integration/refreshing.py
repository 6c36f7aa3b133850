"""The refresh job, run in this process on the test's stores, and the records that tests put into its inbox."""

import gzip
import itertools
from functools import cache
from pathlib import Path

import dagster as dg
import msgspec

from platform_assets.definitions import definitions_on
from platform_assets.rebuilding import TAG
from platform_assets.resources import Stores, stores_at
from platform_assets.verification.comparison import Verification
from platform_assets.verification.comparison import verify as compared
from stores.settings import Settings

_names = itertools.count(1)

CAMPAIGNS = [
    {"campaign_id": "c_tents", "name": "Tent Week", "category": "camping", "group": "outdoor"},
    {"campaign_id": "c_boots", "name": "Boot Fitting", "category": "footwear", "group": "outdoor"},
    {"campaign_id": "c_lamps", "name": "Garden Lamps", "category": "garden", "ends_at": "2026-02-01T00:00:00Z"},
]
RECORDS = [
    {
        "message_id": "m1",
        "user_id": "u_1",
        "timestamp": "2026-01-01T08:00:00Z",
        "message": "Is the two person tent waterproof?",
        "intent": "interest",
    },
    {
        "message_id": "m2",
        "user_id": "u_1",
        "timestamp": "2026-01-02T08:00:00Z",
        "event": "click",
        "campaign_id": "c_tents",
        "intent": "interest",
    },
    {
        "message_id": "m3",
        "user_id": "u_2",
        "timestamp": "2026-01-03T08:00:00Z",
        "message": "I need a tent for heavy rain",
        "intent": "interest",
    },
    {
        "message_id": "m4",
        "user_id": "u_2",
        "timestamp": "2026-01-04T08:00:00Z",
        "event": "conversion",
        "campaign_id": "c_tents",
        "intent": "purchase",
    },
    {
        "message_id": "m5",
        "user_id": "u_3",
        "timestamp": "2026-01-05T08:00:00Z",
        "message": "My boots rub at the heel",
        "campaign_id": "c_boots",
    },
    {"message_id": "m6", "user_id": "u_3", "timestamp": "2026-01-06T08:00:00Z", "message": "We can refit them for you", "role": "agent"},
    {"message_id": "m7", "user_id": "u_3", "timestamp": "2026-01-07T08:00:00Z", "event": "dismissal", "campaign_id": "c_lamps"},
    {"message_id": "m8", "user_id": "u_1", "timestamp": "2026-01-08T08:00:00Z", "event": "impression", "campaign_id": "c_boots"},
    {"message_id": "m9", "user_id": "u_4", "timestamp": "2026-01-09T08:00:00Z", "event": "mailing", "group": "outdoor"},
]


def drop(settings: Settings, *entries: object, name: str | None = None) -> Path:
    """Puts a file of these entries into the inbox, whole at once; names sort in the order of the calls."""
    path = Path(settings.inbox_dir) / (name or f"{next(_names):06d}.jsonl.gz")
    lines = b"\n".join(entry if isinstance(entry, bytes) else msgspec.json.encode(entry) for entry in entries)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return unfinished.rename(path)


@cache
def _an_instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def clean_instance() -> dg.DagsterInstance:
    """An instance whose log is empty. One for the whole process: the making of one takes a tenth as long as a run."""
    instance = _an_instance()
    instance.event_log_storage.wipe()
    return instance


FEW_WORDS = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
"""The configuration of a run that prints its failures and not its hundred events, which nobody reads and which take time, too."""


def run(settings: Settings, job: str, **options: object) -> dg.ExecuteInProcessResult:
    """Runs a job to its end, whether or not it succeeds; `options` are Dagster's."""
    found = definitions_on(stores_at(settings)).resolve_job_def(job)
    return found.execute_in_process(instance=clean_instance(), raise_on_error=False, run_config=FEW_WORDS, **options)


def refresh(settings: Settings, *, selection: list[str] | None = None) -> dg.ExecuteInProcessResult:
    """Runs the refresh job to its end, whether or not it succeeds."""
    return run(settings, "refresh", asset_selection=[dg.AssetKey(name) for name in selection] if selection else None)


def load(settings: Settings, *entries: object) -> None:
    """Sets a test up: these entries and whatever else is in the inbox in every store, released. Without the job's checks.

    Raises:
        Exception: what an asset raised.
    """
    if entries:
        drop(settings, *entries)
    job = definitions_on(stores_at(settings)).resolve_job_def("refresh")
    unchecked = job.get_subset(asset_selection=job.asset_layer.executable_asset_keys, asset_check_selection=set())
    unchecked.execute_in_process(instance=clean_instance(), run_config=FEW_WORDS)


def rebuild(settings: Settings, *assets: str) -> dg.ExecuteInProcessResult:
    """Runs the rebuild job to its end, whether or not it succeeds: of these assets, or of all."""
    return run(settings, "rebuild", tags={TAG: ",".join(assets)} if assets else None)


def verify(settings: Settings) -> Verification:
    """All stores compared with the records."""
    stores = Stores(settings)
    try:
        return compared(stores)
    finally:
        stores.close()


def said(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    """The metadata that an asset reported in this run."""
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """The data version of every asset that this run materialized."""
    events = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {event.asset_key.to_user_string(): (event.tags or {})["dagster/data_version"] for event in events}


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    """The names of the checks that did not hold."""
    return {evaluation.check_name for evaluation in result.get_asset_check_evaluations() if not evaluation.passed}


def opened(settings: Settings) -> Stores:
    """The test's stores, to look into them or to tamper with them."""
    return Stores(settings)
