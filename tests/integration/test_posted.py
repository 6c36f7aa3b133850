"""Events posted to the API, on their way through a refresh: taken like a file, kept until a release reflects them, forgotten."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import dagster as dg
import httpx
import msgspec
import pytest
from msgspec.structs import replace

from local.engines import ADDRESSES, RunningEngines
from local.processes import free_port
from platform_assets import erasing, requests
from platform_assets.erasing import holdings
from stores.documents import Documents, DocumentsReader
from stores.posted import Intake
from stores.records import Record
from stores.settings import PREFIX, Settings
from tests.integration.refreshing import CAMPAIGNS, RECORDS, drop, load, opened, refresh, said
from tests.integration.test_erasure import KEY, ask, forget

CLICK = {"message_id": "p1", "user_id": "u_1", "timestamp": "2026-01-10T08:00:00Z", "event": "click", "campaign_id": "c_boots"}
NO = {"message_id": "p2", "user_id": "u_2", "timestamp": "2026-01-10T09:00:00Z", "event": "dismissal", "campaign_id": "c_boots"}


def post(settings: Settings, *events: dict[str, object]) -> None:
    """Keeps events as the API does."""

    async def put() -> None:
        documents = DocumentsReader(replace(settings, answer_timeout_s=30.0))
        try:
            await documents.postings.put([str(each["user_id"]) for each in events], [msgspec.json.encode(each).decode() for each in events])
        finally:
            await documents.close()

    asyncio.run(put())


@pytest.fixture
def loaded(settings: Settings) -> Settings:
    keyed = replace(settings, erasure_key=KEY)
    load(keyed, *CAMPAIGNS, *RECORDS)
    return keyed


def test_what_was_posted_is_taken_like_a_file_and_leaves_the_intake_with_the_release(loaded: Settings) -> None:
    post(loaded, CLICK, NO)
    post(loaded, CLICK, {"user_id": "u_2", "timestamp": "never"})
    first = refresh(loaded)
    stores = opened(loaded)
    report = stores.documents.files(1)[0]
    assert first.success
    assert (report.name, report.read, report.new, report.superseded, report.quarantined) == ("intake", 4, 2, 1, 1)
    assert report.balances
    assert set(stores.graph.ties(["u_2"])["u_2"].dismissed) == {"c_boots"}
    assert stores.documents.counts("intake") == {"intake": 0}
    release = stores.documents.latest_release()
    post(loaded, CLICK, NO)
    assert said(refresh(loaded), "raw_docs")["unchanged"] == 2
    assert opened(loaded).documents.latest_release() == release


def test_a_run_that_is_cut_off_while_it_takes_what_was_posted_loses_and_doubles_nothing(
    loaded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(loaded, CLICK, NO)
    with monkeypatch.context() as broken:
        broken.setattr(Intake, "recorded", cut_off)
        assert not refresh(loaded).success
    documents = opened(loaded).documents
    assert len(documents.intake.waiting()) == 1
    drop(loaded, NO | {"campaign_id": "c_tents"})  # later than what was posted
    assert refresh(loaded).success
    documents = opened(loaded).documents
    later = documents.get(["m:p2"])["m:p2"]
    assert isinstance(later, Record)
    assert (later.campaign_id, documents.counts("intake")["intake"], documents.counts("raw_docs")["raw_docs"]) == ("c_tents", 0, 11)
    assert all(report.balances for report in documents.files(10))


def cut_off(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_refresh_that_fails_after_it_took_what_was_posted_leaves_it_for_the_answers(
    loaded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(loaded, NO)
    with monkeypatch.context() as broken:
        broken.setattr("stores.graph.Graph.put_customers", cut_off)
        assert not refresh(loaded).success
    documents = opened(loaded).documents
    assert (documents.intake.waiting(), len(documents.intake.of("u_2"))) == ([], 1)
    assert refresh(loaded).success
    assert opened(loaded).documents.intake.of("u_2") == []


def test_what_was_posted_of_a_forgotten_customer_goes_and_that_of_others_stays(loaded: Settings) -> None:
    post(loaded, CLICK, NO)
    ask(loaded)
    assert holdings(opened(loaded), "u_1")["mongodb intake"] == 1
    assert forget(loaded).success
    stores = opened(loaded)
    assert not any(holdings(stores, "u_1").values())
    assert len(stores.documents.intake.of("u_2")) == 1
    post(loaded, CLICK)
    result = refresh(loaded)
    assert (said(result, "raw_docs")["suppressed"], said(result, "raw_docs")["new"]) == (1, 1)
    assert not any(holdings(opened(loaded), "u_1").values())


# The sensors


@pytest.fixture
def watched(settings: Settings, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose MongoDB the sensors look at."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(requests, "QUIET_S", 0.0)
    Documents(settings).prepare()
    return replace(settings, erasure_key=KEY)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[str], str | None]:
    """One look: the run keys that it asks for, and the cursor it leaves."""
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        found = sensor(context)
    if isinstance(found, dg.SkipReason):
        return [], cursor
    return [request.run_key for request in found.run_requests or []], found.cursor


def test_posted_events_ask_for_one_refresh_and_later_ones_for_another(watched: Settings, instance: dg.DagsterInstance) -> None:
    assert tick(requests.intake, instance) == ([], None)
    post(watched, CLICK)
    first, cursor = tick(requests.intake, instance)
    again = tick(requests.intake, instance, cursor)
    post(watched, NO)
    second, _ = tick(requests.intake, instance, cursor)
    assert (len(first), again, len(second)) == (1, ([], cursor), 1)
    assert first != second


def test_events_that_keep_coming_wait_for_a_pause_and_not_for_ever(
    watched: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "QUIET_S", 60.0)
    post(watched, CLICK)
    waits = tick(requests.intake, instance)
    monkeypatch.setattr(requests, "LONGEST_S", 0.0)
    keys, _ = tick(requests.intake, instance)
    assert (waits, len(keys)) == (([], None), 1)


def test_a_request_to_be_forgotten_launches_the_job_once_and_names_nobody(watched: Settings, instance: dg.DagsterInstance) -> None:
    assert tick(requests.erasure_requests, instance) == ([], None)
    asked = ask(watched, "u_1")
    keys, cursor = tick(requests.erasure_requests, instance)
    again, _ = tick(requests.erasure_requests, instance, cursor)
    documents = Documents(watched)
    documents.erasures.put(replace(asked, begun_at_ms=erasing.now_ms()))
    tried, _ = tick(requests.erasure_requests, instance, cursor)
    documents.close()
    assert (len(keys), again, len(tried)) == (1, [], 1)
    assert "u_1" not in f"{keys}{cursor}"


def test_without_mongodb_the_sensors_ask_for_nothing(
    watched: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}MONGO_URL", "mongodb://127.0.0.1:9")
    monkeypatch.setenv(f"{PREFIX}WRITE_TIMEOUT_S", "0.3")
    assert tick(requests.intake, instance) == ([], None)
    assert tick(requests.erasure_requests, instance) == ([], None)


# Durability


def test_what_was_accepted_is_there_when_the_api_and_mongodb_are_killed_right_after(
    engines: RunningEngines, settings: Settings, environment: dict[str, str]
) -> None:
    """SIGKILL at the moment the 202 is read: to the API's processes, then to MongoDB. A power cut is not shown."""
    port = free_port()
    api = subprocess.Popen(
        [sys.executable, "-m", "retrieval", "--port", str(port)],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 60
        answer = None
        while answer is None and time.monotonic() < until:
            try:
                answer = httpx.post(f"http://127.0.0.1:{port}/events", json=[CLICK, NO], timeout=30)
            except httpx.TransportError:
                time.sleep(0.1)
    finally:
        os.killpg(api.pid, signal.SIGKILL)
    if set(engines.names) == set(ADDRESSES):
        engines.kill("mongodb")
        engines.restore()
    assert answer is not None
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    documents = Documents(settings)
    assert [msgspec.json.decode(event) for event in documents.intake.of("u_1")] == [CLICK]
    documents.close()
