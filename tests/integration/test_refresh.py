"""What a refresh does to the stores: files in, every store in step, a release at the end."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from redis import Redis

from local.engines import ADDRESSES, RunningEngines
from ranking.engagement import ties_of
from stores.cache import epoch_key
from stores.records import Campaign, Cap, Profile, Rules
from stores.settings import Settings
from tests.data_files import data_files, written
from tests.integration.refreshing import CAMPAIGNS, RECORDS, drop, load, opened, refresh, said, verify, versions

SPOKEN = {"m1", "m3", "m5"}


@pytest.fixture
def loaded(settings: Settings) -> Settings:
    """Stores that hold the campaigns and the records, and release 1."""
    load(settings, *CAMPAIGNS, *RECORDS)
    return settings


def test_a_first_refresh_fills_every_store_and_publishes_release_one(settings: Settings) -> None:
    drop(settings, *CAMPAIGNS, *RECORDS)
    assert refresh(settings).success
    stores = opened(settings)
    release = stores.documents.latest_release()
    assert release is not None
    assert (release.number, stores.cache.published()) == (1, 1)
    assert release.rows == {
        "records": 9,
        "campaigns": 3,
        "message_vectors": 3,
        "user_vectors": 3,
        "campaign_vectors": 3,
        "graph_customers": 4,
        "metrics_events": 9,
    }
    assert set(stores.vectors.ids(release.message_vectors)) == SPOKEN
    assert set(stores.vectors.ids(release.user_vectors)) == {"u_1", "u_2", "u_3"}
    assert set(stores.vectors.ids(release.campaign_vectors)) == {"c_tents", "c_boots", "c_lamps"}
    assert stores.graph.ties(["u_2"])["u_2"].words.keys() == {"need", "tent", "heavy", "rain", '"need tent heavy rain"'}
    assert stores.graph.ties(["u_2"])["u_2"].converted.keys() == {"c_tents"}
    assert stores.graph.ties(["u_3"])["u_3"].dismissed.keys() == {"c_lamps"}
    figures = stores.metrics.catalogue().figures
    assert (figures["c_tents"].customers, figures["c_tents"].conversions, figures["c_boots"].exposed) == (2, 1, 2)


def test_a_taken_file_leaves_the_inbox_and_is_accounted_for(loaded: Settings) -> None:
    stores = opened(loaded)
    (report,) = stores.documents.files(10)
    assert (report.read, report.new, report.sequence) == (12, 12, 1)
    assert report.balances
    assert list(stores.documents.files(10)) == [report]


def test_a_rerun_changes_nothing_and_says_so(loaded: Settings) -> None:
    first, second = refresh(loaded), refresh(loaded)
    assert second.success
    assert said(second, "raw_docs")["outcome"] == "no new file"
    for asset in ("embeddings", "vectors", "graph", "metrics", "release"):
        assert said(second, asset)["outcome"] == "nothing changed"
    assert said(second, "embeddings")["texts_embedded"] == 0
    assert "map" not in said(second, "embeddings")
    assert "counted_anew" not in said(second, "graph")
    assert versions(second) == versions(first)
    release = opened(loaded).documents.latest_release()
    assert release is not None
    assert release.number == 1


def test_a_refresh_with_nothing_new_writes_to_no_store(loaded: Settings, engines: RunningEngines) -> None:
    if set(engines.names) != set(ADDRESSES):
        pytest.skip("these servers were not started by the tests, which therefore do not see their files")
    assert refresh(loaded).success  # what is written late, after the load, is written now
    before = data_files(engines, Path(loaded.sql_url.removeprefix("sqlite:///")))
    assert refresh(loaded).success
    assert written(before, data_files(engines, Path(loaded.sql_url.removeprefix("sqlite:///")))) == []


def test_one_changed_one_new_and_one_deleted_record_flow_through(loaded: Settings) -> None:
    changed = RECORDS[0] | {"message": "Does the tent come with pegs?"}
    new = {
        "message_id": "m10",
        "user_id": "u_5",
        "timestamp": "2026-01-10T08:00:00Z",
        "message": "Any boots in size 47?",
        "campaign_id": "c_boots",
    }
    drop(loaded, changed, new, {"message_id": "m4", "deleted": True})
    result = refresh(loaded)
    assert result.success
    assert {name: said(result, "raw_docs")[name] for name in ("new", "changed", "deleted", "unchanged")} == {
        "new": 1,
        "changed": 1,
        "deleted": 1,
        "unchanged": 0,
    }
    assert said(result, "embeddings")["texts_embedded"] == 2
    assert all("map" in said(result, asset) for asset in ("embeddings", "vectors"))
    rows, _ = said(result, "graph")["counted_anew"]
    assert {row.data["campaign"]: row.data["attracts customers who expressed"] for row in rows} == {
        "Boot Fitting": "",
        "Tent Week": "interest 1",
    }
    stores = opened(loaded)
    release = stores.documents.latest_release()
    assert release is not None
    assert release.number == 2
    assert set(stores.vectors.ids(release.message_vectors)) == SPOKEN | {"m10"}
    assert "c_tents" not in stores.graph.ties(["u_2"])["u_2"].converted
    assert stores.metrics.catalogue().figures["c_tents"].conversions == 0
    assert stores.metrics.catalogue().figures["c_boots"].customers == 2


def test_the_stores_end_as_a_load_from_nothing_would_leave_them(loaded: Settings) -> None:
    drop(loaded, RECORDS[0] | {"user_id": "u_2"}, {"message_id": "m5", "deleted": True}, CAMPAIGNS[0] | {"name": "Tent Month"})
    refresh(loaded)
    stores = opened(loaded)
    records = stores.documents.records_of(["u_1", "u_2", "u_3", "u_4"])
    for user_id, found in records.items():
        assert stores.graph.ties([user_id])[user_id] == ties_of(user_id, found, weights=stores.weights)
    names = stores.collections
    assert set(stores.vectors.ids(names.messages)) == {"m1", "m3"}
    assert set(stores.vectors.ids(names.users)) == {"u_2"}
    ours = stores.vectors.get(names.users, ["u_2"])["u_2"]
    assert abs(float(np.linalg.norm(ours)) - 1) < 1e-5
    campaign = stores.documents.get(["c:c_tents"])["c:c_tents"]
    assert isinstance(campaign, Campaign)
    assert stores.metrics.catalogue().campaigns["c_tents"] == campaign


def test_a_text_is_embedded_once_however_many_customers_say_it(loaded: Settings) -> None:
    again = [RECORDS[0] | {"message_id": f"again{n}", "user_id": f"u_{n}"} for n in range(5)]
    drop(loaded, *again)
    result = refresh(loaded)
    assert (said(result, "embeddings")["texts_embedded"], said(result, "vectors")["upserted"]) == (0, 5)


def test_the_same_records_in_another_file_are_unchanged_and_make_no_release(loaded: Settings) -> None:
    drop(loaded, *RECORDS)
    result = refresh(loaded)
    assert (said(result, "raw_docs")["unchanged"], said(result, "release")["outcome"]) == (9, "nothing changed")
    stores = opened(loaded)
    assert stores.documents.confirmed() == 2


def test_loading_a_then_b_then_a_again_restores_a(loaded: Settings) -> None:
    other = RECORDS[0] | {"message": "Never mind"}
    for version in (other, RECORDS[0]):
        drop(loaded, version)
        refresh(loaded)
    stores = opened(loaded)
    assert stores.documents.get(["m:m1"])["m:m1"].message == RECORDS[0]["message"]


def test_a_bad_record_is_quarantined_and_stops_nothing(settings: Settings) -> None:
    drop(settings, b'{"user_id": "u_1"', RECORDS[0], {"user_id": "no spaces please", "timestamp": "2026-01-01", "message": "x"}, *CAMPAIGNS)
    result = refresh(settings)
    assert result.success
    assert (said(result, "raw_docs")["read"], said(result, "raw_docs")["quarantined"]) == (6, 2)
    quarantined = opened(settings).documents.quarantined(10)
    assert sorted(each.line for each in quarantined) == [1, 3]
    assert any("user_id" in each.reason for each in quarantined)


def test_of_the_same_id_twice_in_a_file_the_later_line_wins(settings: Settings) -> None:
    drop(settings, RECORDS[0], RECORDS[0] | {"message": "the later one"})
    result = refresh(settings)
    assert (said(result, "raw_docs")["superseded"], said(result, "raw_docs")["new"]) == (1, 1)
    assert opened(settings).documents.get(["m:m1"])["m:m1"].message == "the later one"


def test_an_unfinished_file_is_not_read(settings: Settings) -> None:
    path = drop(settings, *RECORDS)
    path.rename(path.with_suffix(".tmp"))
    assert said(refresh(settings), "raw_docs")["outcome"] == "no new file"


def test_a_failing_asset_leaves_the_last_release_and_the_next_refresh_mends_it(loaded: Settings, engines: RunningEngines) -> None:
    drop(loaded, RECORDS[0] | {"message_id": "m11", "message": "More about tents", "campaign_id": "c_tents"})
    engines.kill("neo4j")
    result = refresh(replace(loaded, write_timeout_s=2.0))
    assert not result.success
    stores = opened(loaded)
    release = stores.documents.latest_release()
    assert release is not None
    assert (release.number, stores.cache.published()) == (1, 1)
    engines.start("neo4j")
    assert refresh(loaded).success
    release = opened(loaded).documents.latest_release()
    assert release is not None
    assert release.number == 2


@pytest.mark.parametrize("lost", ["vectors", "graph", "metrics"])
def test_a_store_that_was_lost_is_built_again_without_being_told(loaded: Settings, lost: str) -> None:
    stores = opened(loaded)
    before = (stores.vectors.count(stores.collections.messages), stores.graph.counts(), stores.metrics.counts())
    empty(loaded, lost)
    result = refresh(loaded)
    assert result.success
    assert "lost" in str(said(result, lost)["recovered"])
    stores = opened(loaded)
    assert (stores.vectors.count(stores.collections.messages), stores.graph.counts(), stores.metrics.counts()) == before
    assert said(result, "release")["outcome"] == "a new release"  # what was answered from the empty store is outdated


def test_rows_that_no_record_stands_for_vanish_when_a_store_is_restored(loaded: Settings) -> None:
    """A store restored from an older copy may hold what was deleted since."""
    stores = opened(loaded)
    stores.graph.put_customers([ties_of("u_ghost", [], weights=stores.weights)])
    stores.graph.set_stamp("graph", "that of an older copy")
    assert refresh(loaded).success
    assert "u_ghost" not in set(opened(loaded).graph.user_ids())


def test_other_engagement_weights_are_a_new_version_of_what_is_counted(loaded: Settings) -> None:
    result = refresh(replace(loaded, weight_conversion=50.0))
    assert result.success
    assert "setting" in str(said(result, "metrics")["recovered"])
    assert opened(loaded).metrics.catalogue().figures["c_tents"].weight == 52.0
    assert said(result, "release")["outcome"] == "a new release"


def empty(settings: Settings, store: str) -> None:
    """Loses everything in a store, as a restart without its volume would."""
    stores = opened(settings)
    if store == "vectors":
        for name in stores.vectors.collections():
            stores.vectors.drop(name)
    elif store == "graph":
        stores.graph.delete_customers(list(stores.graph.user_ids()))
        stores.graph.sweep()
    else:
        keys = list(stores.metrics.keys())
        stores.metrics.put(rows=[], catalogue=[], gone=[key for key, _ in keys], users=sorted({owner for _, owner in keys if owner}))
        stores.metrics.recount(["c_tents", "c_boots", "c_lamps"])


def stated(message_id: str, day: int, **profile: object) -> dict[str, object]:
    return {"message_id": message_id, "user_id": "u_4", "timestamp": f"2026-02-{day:02d}", "event": "profile"} | profile


def test_what_a_customer_states_is_known_by_the_graph_and_outdates_their_answers(loaded: Settings) -> None:
    stores = opened(loaded)
    before = stores.metrics.catalogue().figures

    def after(*entries: object) -> tuple[Profile, int]:
        """The customer's profile after a refresh that takes these, and the epoch of their answers."""
        drop(loaded, *entries)
        assert refresh(loaded).success
        with Redis.from_url(loaded.redis_url) as redis:
            return stores.graph.ties(["u_4"])["u_4"].profile, int(redis.get(epoch_key("u_4")) or 0)

    first, epoch = after(stated("p1", 1, consent={"email": True}, attributes={"tier": "gold"}))
    assert (first, epoch > 0) == (Profile(consent={"email": True}, attributes={"tier": "gold"}), True)
    older, same = after(
        stated("p0", 1, consent={"email": False}), {"message_id": "m10", "user_id": "u_4", "timestamp": "2026-03-01", "message": "Hi"}
    )
    assert (older, same) == (first, epoch)  # of one moment, the greater id counts
    withdrawn, other = after(stated("p2", 2, consent={"email": False}, suppressed=True))
    assert withdrawn == Profile(consent={"email": False}, suppressed=True, attributes={"tier": "gold"})
    assert other not in {0, epoch}
    assert after({"message_id": "p2", "deleted": True})[0] == first
    assert stores.graph.ties(["u_4"])["u_4"].mailed == ("outdoor",)
    assert stores.metrics.catalogue().figures == before  # neither an engagement nor an exposure
    assert verify(loaded).consistent


def test_a_campaign_whose_rule_cannot_be_read_is_quarantined_with_its_reason(loaded: Settings) -> None:
    good = {"campaign_id": "c_mats", "name": "Mats", "caps": {"impressions": 2, "period_hours": 24}}
    drop(loaded, good, {"campaign_id": "c_bad", "name": "Bad", "hours": {"zone": "Mars/Phobos"}})
    assert refresh(loaded).success
    stores = opened(loaded)
    assert stores.metrics.catalogue().campaigns["c_mats"].rules == Rules(caps=(Cap(impressions=2, period_hours=24),))
    assert "c_bad" not in stores.metrics.catalogue().campaigns
    (rejected,) = stores.documents.quarantined(10)
    assert rejected.reason.startswith("hours.zone is 'Mars/Phobos': expected a time zone")
