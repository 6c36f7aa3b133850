"""Each check of an asset holds after a refresh, and fails when what it promises is broken on purpose."""

from collections.abc import Callable

import dagster as dg
import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from platform_assets.assets import embeddings, graph, metrics, ranking_model, ranking_quality, raw_docs, release, vectors
from platform_assets.definitions import definitions_on, defs
from platform_assets.resources import Stores, stores_at
from platform_assets.verification import check
from ranking.model import RRF
from ranking.quality import Quality
from stores.models import Judgement
from stores.records import Campaign, CustomerTies, FileReport, Tally
from stores.settings import Settings
from tests.integration.refreshing import CAMPAIGNS, RECORDS, clean_instance, drop, failed_checks, load, opened, refresh

TALLY = Tally(count=1, weight=1.0, last_at_ms=1)


def lose_a_record(stores: Stores) -> None:
    stores.documents.delete(["m:m1"])


def miscount_a_file(stores: Stores) -> None:
    stores.documents.put_file(FileReport(name="x", sha256="0" * 64, sequence=99, read=2, new=1))


def spoil_an_embedding(stores: Stores) -> None:
    stores.documents.put_embeddings("any", {stores.embedder.key(str(RECORDS[0]["message"])): np.full(384, np.nan, np.float32)})


def lose_a_vector(stores: Stores) -> None:
    stores.vectors.delete(stores.collections.messages, ["m1"])


def swap_a_vector(stores: Stores) -> None:
    other = stores.vectors.get(stores.collections.messages, ["m5"])["m5"]
    stores.vectors.upsert_messages(
        stores.collections.messages, [vectors.MessageVector(message_id="m1", user_id="u_1", timestamp_ms=1, vector=other)]
    )


def add_a_customer_without_records(stores: Stores) -> None:
    stores.graph.put_customers([CustomerTies(user_id="u_ghost", engaged_with={"c_tents": TALLY})])


def change_a_tie(stores: Stores) -> None:
    stores.graph.put_customers([CustomerTies(user_id="u_1", engaged_with={"c_boots": TALLY})])


def add_an_event_without_record(stores: Stores) -> None:
    row = metrics.EventRow(key="m:ghost", user_id="u_1", at_ms=1, day="2026-01-01", event="click", weight=2.0, campaign_id="c_tents")
    stores.metrics.put(rows=[row], catalogue=[], gone=[], users=[])


def publish_another_release(stores: Stores) -> None:
    latest = stores.documents.latest_release()
    assert latest is not None
    stores.cache.publish(replace(latest, number=latest.number + 1))


def rename_a_campaign(stores: Stores) -> None:
    stores.graph.put_campaigns([Campaign(campaign_id="c_tents", name="Another name")])


def swap_the_model(stores: Stores) -> None:
    stores.documents.models.put(RRF.version, msgspec.json.encode(replace(RRF, version="another")).decode())


def fall_behind_popularity(stores: Stores) -> None:
    found = Quality(
        cases=100,
        customers=1,
        candidates=2.0,
        ndcg10=(0.2, 0.1, 0.3),
        methods={},
        differences={"served-popularity": {"ndcg@10": (-0.1, -0.2, 0.0)}},
        segments={},
        models={},
        silent=[],
    )
    report = msgspec.json.encode(found).decode()
    stores.documents.models.set_judgement(Judgement(model=RRF.version, made_by="a test", records=1, outcomes=1, report=report))


BROKEN: dict[Callable[[Stores], None], dg.AssetChecksDefinition] = {
    lose_a_record: raw_docs.ids_are_unique_and_all_in_the_ledger,
    miscount_a_file: raw_docs.every_record_read_is_accounted_for,
    spoil_an_embedding: embeddings.every_text_has_a_sound_vector,
    lose_a_vector: vectors.milvus_holds_one_vector_per_text,
    swap_a_vector: vectors.vectors_in_milvus_equal_the_embeddings,
    add_a_customer_without_records: graph.nothing_in_the_graph_dangles_or_is_doubled,
    change_a_tie: graph.every_record_that_names_a_campaign_has_its_tie,
    add_an_event_without_record: metrics.figures_add_up_to_the_records,
    swap_the_model: ranking_model.the_model_in_use_is_kept_and_sound,
    fall_behind_popularity: ranking_quality.what_is_served_is_better_than_popularity,
    publish_another_release: release.the_published_release_is_the_latest,
    rename_a_campaign: check.every_store_holds_what_the_records_say,
}
BROKEN_ELSEWHERE = {
    "nobody_who_was_forgotten_has_come_back",  # in test_erasure.py, where somebody is forgotten first
    "quality_has_not_fallen_since_the_last_release",  # in test_ranking_assets.py, where there is a past to judge on
}


@pytest.mark.parametrize("tamper", BROKEN, ids=lambda tamper: tamper.__name__)
def test_a_check_holds_until_what_it_promises_is_broken(settings: Settings, tamper: Callable[[Stores], None]) -> None:
    load(settings, *CAMPAIGNS, *RECORDS)
    assert passes(BROKEN[tamper], settings)
    tamper(opened(settings))
    assert not passes(BROKEN[tamper], settings)


def test_every_check_is_broken_by_some_test() -> None:
    names = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
    assert {key.name for check in BROKEN.values() for key in check.check_keys} | BROKEN_ELSEWHERE == names


def test_a_failing_check_holds_the_release_back(settings: Settings) -> None:
    load(settings, *CAMPAIGNS, *RECORDS)
    drop(settings, RECORDS[0] | {"message_id": "m99", "message": "One more thing"})
    miscount_a_file(opened(settings))
    result = refresh(settings)
    assert failed_checks(result) == {"every_record_read_is_accounted_for"}
    assert [event.asset_key for event in result.get_asset_materialization_events()] == [dg.AssetKey("raw_docs")]
    latest = opened(settings).documents.latest_release()
    assert latest is not None
    assert latest.number == 1


def passes(check: dg.AssetChecksDefinition, settings: Settings) -> bool:
    """Whether a check holds when it is run by itself."""
    (key,) = check.check_keys
    job = dg.define_asset_job("by_itself", dg.AssetSelection.checks(key))
    definitions = dg.Definitions.merge(definitions_on(stores_at(settings)), dg.Definitions(jobs=[job]))
    by_itself = definitions.resolve_job_def("by_itself")
    result = by_itself.execute_in_process(instance=clean_instance(), raise_on_error=False)
    (found,) = result.get_asset_check_evaluations()
    return found.passed
