"""The metrics keep their promises on SQLite and on PostgreSQL."""

import random
from collections import defaultdict
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, select

from stores.errors import ContractBroken, Unavailable
from stores.evidence import CampaignDay, CampaignFigures
from stores.metrics import EventRow, Metrics, events, state
from stores.records import Campaign, iso
from stores.sql import reading, writing

DAY_MS = 86_400_000
WEIGHTS = {"message": 1.0, "click": 2.0, "conversion": 5.0}


@pytest.fixture
def metrics(sql_engine: Engine) -> Metrics:
    found = Metrics(sql_engine)
    found.prepare()
    return found


def row(key: str, user_id: str, event: str, campaign_id: str | None = None, *, at_ms: int = 0, group: str | None = None) -> EventRow:
    weight = WEIGHTS.get(event, 0.0) if campaign_id else 0.0
    return EventRow(
        key=f"m:{key}", user_id=user_id, at_ms=at_ms, day=iso(at_ms)[:10], event=event, campaign_id=campaign_id, group=group, weight=weight
    )


def put(metrics: Metrics, rows: list[EventRow], *, catalogue: list[Campaign] | None = None, gone: list[str] | None = None) -> None:
    """One whole refresh: what the change touches is computed anew."""
    keys = [each.key for each in rows] + (gone or [])
    touched = metrics.campaigns_of(keys) | {each.campaign_id for each in rows if each.campaign_id}
    touched |= metrics.campaigns_in({each.group for each in rows if each.event == "mailing" and each.group})
    touched |= {campaign.campaign_id for campaign in catalogue or []}
    metrics.put(rows=rows, catalogue=catalogue or [], gone=gone or [], users=sorted({each.user_id for each in rows} | {"u_gone"}))
    metrics.recount(sorted(touched))


def test_figures_count_customers_once_and_events_by_kind(metrics: Metrics) -> None:
    put(
        metrics,
        [
            row("1", "u_1", "click", "c_1", at_ms=5),
            row("2", "u_1", "conversion", "c_1", at_ms=9),
            row("3", "u_2", "message", "c_1", at_ms=7),
            row("4", "u_3", "impression", "c_1"),
            row("5", "u_1", "impression", "c_1"),
        ],
    )
    assert metrics.catalogue().figures["c_1"] == CampaignFigures(
        campaign_id="c_1", customers=2, exposed=2, messages=1, clicks=1, conversions=1, weight=8.0, last_at_ms=9
    )


def test_the_busiest_campaigns_come_first_and_have_their_names(metrics: Metrics) -> None:
    known = [Campaign(campaign_id="c_2", name="Two"), Campaign(campaign_id="c_3", name="Three")]
    rows = [row(f"{n}", f"u_{n}", "click", campaign) for n, campaign in enumerate(["c_1", "c_2", "c_2", "c_3"])]
    put(metrics, rows, catalogue=known)
    busiest = [(figures.campaign_id, figures.customers, name) for figures, name in metrics.busiest(2)]
    assert busiest == [("c_2", 2, "Two"), ("c_1", 1, None)]
    assert [figures for figures, _ in metrics.busiest(9)] == sorted(metrics.catalogue().figures.values(), key=lambda f: -f.customers)


def test_the_catalogue_tells_each_campaigns_days_and_the_newest_record_of_the_same_moment(metrics: Metrics, sql_engine: Engine) -> None:
    assert (metrics.catalogue().days, metrics.catalogue().newest_ms) == ((), 0)
    rows = [row("1", "u_1", "click", "c_1", at_ms=5), row("2", "u_2", "impression", "c_1", at_ms=DAY_MS + 5), row("3", "u_2", "mailing")]
    put(metrics, rows)
    found = metrics.catalogue()
    first, second = (
        CampaignDay(campaign_id="c_1", day="1970-01-01", clicks=1, weight=2.0),
        CampaignDay(campaign_id="c_1", day="1970-01-02", impressions=1),
    )
    assert (found.days, found.newest_ms) == ((first, second), DAY_MS + 5)
    with reading(sql_engine) as connection:
        before = connection.scalars(select(events.c.key)).all()
        put(metrics, [row("4", "u_1", "click", "c_2", at_ms=2 * DAY_MS)])
        assert connection.scalars(select(events.c.key)).all() == before
    assert metrics.catalogue().newest_ms == 2 * DAY_MS


def test_a_mailing_of_its_group_exposes_a_campaign_whichever_came_first(metrics: Metrics) -> None:
    put(metrics, [row("1", "u_1", "mailing", group="spring")])
    put(metrics, [], catalogue=[Campaign(campaign_id="c_1", name="One", group="spring")])
    put(metrics, [row("2", "u_2", "mailing", group="spring"), row("3", "u_2", "impression", "c_1")])
    assert metrics.catalogue().figures["c_1"].exposed == 2


def test_the_most_active_are_those_who_engaged_most_often(metrics: Metrics) -> None:
    clicks = [("u_1", 1), ("u_2", 3), ("u_3", 2), ("u_4", 2)]
    put(metrics, [row(f"{user_id}_{n}", user_id, "click", f"c_{n}") for user_id, times in clicks for n in range(times)])
    put(metrics, [row("seen", "u_5", "impression", "c_1")])
    assert metrics.most_active(3) == ["u_2", "u_3", "u_4"]
    assert metrics.most_active(10) == ["u_2", "u_3", "u_4", "u_1"]


def test_writing_twice_changes_nothing(metrics: Metrics) -> None:
    rows = [row("1", "u_1", "click", "c_1"), row("2", "u_2", "conversion", "c_2")]
    put(metrics, rows, catalogue=[Campaign(campaign_id="c_1", name="One")])
    before = (metrics.catalogue(), metrics.counts(), metrics.totals())
    put(metrics, rows, catalogue=[Campaign(campaign_id="c_1", name="One")])
    assert (metrics.catalogue(), metrics.counts(), metrics.totals()) == before


def test_a_record_that_moves_to_another_campaign_leaves_the_first(metrics: Metrics) -> None:
    put(metrics, [row("1", "u_1", "click", "c_1")])
    put(metrics, [row("1", "u_1", "click", "c_2")])
    assert list(metrics.catalogue().figures) == ["c_2"]


def test_deleted_records_and_campaigns_leave_no_trace(metrics: Metrics) -> None:
    put(metrics, [row("1", "u_gone", "click", "c_1")], catalogue=[Campaign(campaign_id="c_1", name="One")])
    put(metrics, [], gone=["m:1", "c:c_1"])
    assert metrics.catalogue().campaigns == {}
    assert metrics.catalogue().figures == {}
    assert set(metrics.counts().values()) == {0}


def test_a_campaign_comes_back_as_it_was_put(metrics: Metrics) -> None:
    campaign = Campaign(
        campaign_id="c_1",
        name="Ünïcode “quotes”",
        channels=("email", "web"),
        ends_at_ms=2**40,
        priority=-3,
        repeatable=True,
        extra={"a.b": [1, None]},
    )
    put(metrics, [], catalogue=[campaign])
    assert metrics.catalogue().campaigns == {"c_1": campaign}


def test_any_history_ends_in_the_figures_of_a_load_from_nothing(metrics: Metrics) -> None:
    dice = random.Random(7)
    records: dict[str, EventRow] = {}
    for _ in range(12):
        changed = [
            row(
                str(dice.randrange(60)),
                f"u_{dice.randrange(8)}",
                dice.choice(["message", "click", "conversion", "impression"]),
                f"c_{dice.randrange(5)}",
            )
            for _ in range(dice.randrange(1, 15))
        ]
        changed = list({each.key: each for each in changed}.values())
        former = [records[each.key].user_id for each in changed if each.key in records]
        touched = metrics.campaigns_of([each.key for each in changed]) | {each.campaign_id for each in changed if each.campaign_id}
        metrics.put(rows=changed, catalogue=[], gone=[], users=sorted({each.user_id for each in changed} | set(former)))
        metrics.recount(sorted(touched))
        records |= {each.key: each for each in changed}
    customers, weight = defaultdict(set), defaultdict(float)
    for each in records.values():
        if each.weight > 0:
            customers[each.campaign_id].add(each.user_id)
            weight[each.campaign_id] += each.weight
    figures = metrics.catalogue().figures
    assert {c: f.customers for c, f in figures.items() if f.customers} == {c: len(users) for c, users in customers.items()}
    assert {c: f.weight for c, f in figures.items() if f.customers} == dict(weight)
    totals = metrics.totals()
    assert totals.events == totals.by_customer == totals.by_campaign == totals.by_day == sum(each.weight > 0 for each in records.values())


def contents(metrics: Metrics) -> tuple[object, ...]:
    users = ["u_1", "u_2", "u_3", "u_old"]
    days = sorted(metrics.days(), key=lambda day: (day.campaign_id, day.day))
    return metrics.catalogue(), metrics.events_of(users), metrics.engagement_of(users), days, metrics.groups(), metrics.counts()


def test_replacing_everything_ends_as_putting_it_would_and_readers_see_nothing_before_the_end(metrics: Metrics) -> None:
    rows = [
        row("1", "u_1", "click", "c_1", at_ms=5),
        row("2", "u_2", "mailing", group="spring"),
        row("3", "u_3", "impression", "c_2"),
        row("4", "u_1", "message"),
    ]
    catalogue = [Campaign(campaign_id="c_1", name="One", group="spring"), Campaign(campaign_id="c_3", name="Three")]
    put(metrics, rows, catalogue=catalogue)
    expected = contents(metrics)
    old = [row("old", "u_old", "conversion", "c_old"), row("1", "u_2", "conversion", "c_1")]
    put(metrics, old, gone=[each.key for each in rows[1:]], catalogue=[Campaign(campaign_id="c_1", name="Before")])
    before = contents(metrics)

    def batches() -> Iterator[tuple[list[EventRow], list[Campaign]]]:
        yield rows[:2], []
        assert contents(metrics) == before
        yield rows[2:], catalogue
        assert contents(metrics) == before

    assert metrics.replace(batches()) == 6
    assert contents(metrics) == expected


def test_a_replacement_that_is_cut_off_changes_nothing(metrics: Metrics) -> None:
    put(metrics, [row("1", "u_1", "click", "c_1")])
    before = contents(metrics)

    def batches() -> Iterator[tuple[list[EventRow], list[Campaign]]]:
        yield [row("2", "u_2", "click", "c_1")], []
        raise Unavailable("mongodb", "it died")

    with pytest.raises(Unavailable):
        metrics.replace(batches())
    assert contents(metrics) == before


def test_keys_name_every_record_with_its_customer_and_every_campaign(metrics: Metrics) -> None:
    put(metrics, [row("1", "u_1", "click", "c_1")], catalogue=[Campaign(campaign_id="c_1", name="One")])
    assert list(metrics.keys()) == [("m:1", "u_1"), ("c:c_1", "")]


def test_the_stamp_is_what_was_set_last(metrics: Metrics) -> None:
    assert metrics.stamp() is None
    metrics.set_stamp("one")
    metrics.set_stamp("two")
    assert metrics.stamp() == "two"


def test_tables_of_another_version_are_refused(metrics: Metrics, sql_engine: Engine) -> None:
    with writing(sql_engine) as connection:
        connection.execute(state.update().where(state.c.name == "schema").values(value="99"))
    with pytest.raises(ContractBroken, match="schema version 99"):
        metrics.prepare()
