"""metrics: the records → SQL: engagement by customer, campaign and day, and the catalogue that the API ranks from."""

import time
from collections.abc import Iterator, Sequence

import dagster as dg

from platform_assets.automation import on_new_data
from platform_assets.reconcile import OTHER_VERSION, REBUILT, Reconciliation, Reflection, reconcile, reflected, renew_stamp, version_of
from platform_assets.resources import RETRY, Stores, surfaced
from ranking.engagement import EngagementWeights, weight_of
from stores.evidence import CampaignFigures
from stores.ledger import Change, Entry, Extent, owners_of
from stores.metrics import EventRow
from stores.records import Campaign, Record, iso
from stores.sql import chunks

CODE_VERSION = "1"
LEDGER = "metrics"
CAMPAIGNS_SHOWN = 15
WEIGHT_TOLERANCE = 1e-6  # of the whole: sums of decimal weights depend on their order in the last digits


class MetricsMirror:
    """The events and what is counted from them, in SQL."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def stamp(self) -> str | None:
        return self._stores.metrics.stamp()

    def set_stamp(self, value: str) -> None:
        self._stores.metrics.set_stamp(value)

    def intact(self, extent: Extent) -> bool:
        counts = self._stores.metrics.counts()
        return extent.held <= counts["events"] + counts["campaigns"] <= extent.held + extent.unsettled

    def present(self) -> Iterator[tuple[str, str]]:
        return self._stores.metrics.keys()

    def distrusted(self) -> None:
        """Every entry names the campaigns that it counts towards when it is taken up again."""

    def apply(self, changes: Sequence[Change]) -> set[str]:
        stores = self._stores
        entries = stores.documents.get([change.id for change in changes if change.content_hash is not None])
        records = [entry for entry in entries.values() if isinstance(entry, Record)]
        catalogue = [entry for entry in entries.values() if isinstance(entry, Campaign)]
        stores.ledger.touch(LEDGER, self._campaigns_touched(changes, records))
        stores.metrics.put(
            rows=[event_row(record, stores.weights) for record in records],
            catalogue=catalogue,
            gone=[change.id for change in changes if change.id not in entries],
            users=owners_of(changes),
        )
        return set(entries)

    def finish(self) -> None:
        self._stores.metrics.recount(self._stores.ledger.touched(LEDGER))

    def _campaigns_touched(self, changes: Sequence[Change], records: Sequence[Record]) -> set[str]:
        """The campaigns that these changes counted towards before, and those that they will count towards."""
        metrics = self._stores.metrics
        named = {record.campaign_id for record in records if record.campaign_id}
        mailed = {record.group for record in records if record.event == "mailing" and record.group}
        themselves = {change.id[2:] for change in changes if change.id.startswith("c:")}
        return named | themselves | metrics.campaigns_in(mailed) | metrics.campaigns_of([change.id for change in changes])


@dg.asset(
    deps=["raw_docs"],
    group_name="serving",
    kinds={"sql"},
    owners=["team:data-platform"],
    code_version=CODE_VERSION,
    pool="sql",
    retry_policy=RETRY,
    automation_condition=on_new_data(),
)
def metrics(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult:
    """Engagement by customer and campaign, by campaign, and by campaign and day, with the catalogue of campaigns.

    A message, click or conversion that names a campaign is engagement, weighted by event and intent; an impression, or
    a mailing of the campaign's group, is exposure. A rebuild, or another version of the figures, replaces everything in one
    transaction.
    """
    with surfaced():
        plan = plan_of(stores)
        reason = reason_to_replace(stores, plan)
        reflection = replace_all(stores, plan, reason) if reason else reconcile(stores.ledger, MetricsMirror(stores), plan)
        busiest, counts = stores.metrics.busiest(CAMPAIGNS_SHOWN), stores.metrics.counts()
    context.log.info("metrics: %s", counts)
    return reflected(reflection, plan, campaigns=counts["campaigns"], engagement=dg.MetadataValue.md(campaigns_table(busiest)))


@dg.asset_check(asset=metrics, blocking=True)
def figures_add_up_to_the_records(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """Engagement summed by customer, by campaign and by day equals the engagement of all records; no record is missing."""
    with surfaced():
        totals, counts, extent = stores.metrics.totals(), stores.metrics.counts(), stores.ledger.extent(LEDGER)
        in_step = stores.ledger.digest(LEDGER) == stores.ledger.digest("raw_docs")
    same_counts = totals.events == totals.by_customer == totals.by_campaign == totals.by_day
    allowed = WEIGHT_TOLERANCE * max(1.0, totals.events_weight)
    same_weights = all(abs(each - totals.events_weight) <= allowed for each in (totals.by_customer_weight, totals.by_campaign_weight))
    all_there = counts["events"] + counts["campaigns"] == extent.held
    return dg.AssetCheckResult(
        passed=same_counts and same_weights and all_there and in_step,
        metadata={
            "records": totals.events,
            "by_customer": totals.by_customer,
            "by_campaign": totals.by_campaign,
            "by_day": totals.by_day,
            "weight": totals.events_weight,
            "in_step": in_step,
        },
    )


def plan_of(stores: Stores) -> Reconciliation:
    return Reconciliation(
        source="raw_docs", target=LEDGER, version=version_of(CODE_VERSION, stores.weights), batch_rows=stores.settings.batch_rows
    )


def reason_to_replace(stores: Stores, plan: Reconciliation) -> str | None:
    """Why every row must be written anew although none is lost, or None."""
    if "metrics" in stores.rebuild.assets:
        return REBUILT
    head = stores.ledger.head(LEDGER)
    return OTHER_VERSION if head is not None and head.version != plan.version else None


def replace_all(stores: Stores, plan: Reconciliation, reason: str) -> Reflection:
    """Writes every row anew in one transaction; until its end, and after any crash before it, readers see those of before."""
    began, held, mirror = time.monotonic(), stores.metrics.counts(), MetricsMirror(stores)
    stores.ledger.distrust(LEDGER, mirror.present())  # first: a run that is cut off from here on leaves everything to the next one
    renew_stamp(stores.ledger, mirror, plan)
    put = stores.metrics.replace(rows_of(stores, batch) for batch in chunks(stores.ledger.entries(plan.source), plan.batch_rows))
    stores.ledger.rewrite(LEDGER, stores.ledger.entries(plan.source))
    stores.ledger.settle(LEDGER)
    totals = stores.ledger.keep_totals(LEDGER)
    return Reflection(
        digest=totals.digest,
        entries=totals.extent.rows,
        held=put,
        upserted=put,
        deleted=max(0, held["events"] + held["campaigns"] - put),
        seconds=time.monotonic() - began,
        recovered=reason,
    )


def rows_of(stores: Stores, entries: Sequence[Entry]) -> tuple[list[EventRow], list[Campaign]]:
    """The event rows and the campaigns of these entries."""
    found = stores.documents.get([entry.id for entry in entries]).values()
    records = [event_row(entry, stores.weights) for entry in found if isinstance(entry, Record)]
    return records, [entry for entry in found if isinstance(entry, Campaign)]


def event_row(record: Record, weights: EngagementWeights) -> EventRow:
    """A record as the figures need it; what an agent says or does weighs nothing."""
    counts = record.campaign_id is not None and record.role == "customer"
    return EventRow(
        key=record.key,
        user_id=record.user_id,
        at_ms=record.timestamp_ms,
        day=iso(record.timestamp_ms)[:10],
        event=record.event,
        campaign_id=record.campaign_id,
        group=record.group,
        intent=record.intent,
        weight=weight_of(record.event, record.intent, weights=weights) if counts else 0.0,
    )


def campaigns_table(busiest: Sequence[tuple[CampaignFigures, str | None]]) -> str:
    """The campaigns with the most engaged customers, as a person reads them in Dagster's UI."""
    head = "| campaign | name | customers | exposed | messages | clicks | conversions |\n|---|---|---:|---:|---:|---:|---:|\n"
    shown = [
        (f.campaign_id, name or "(not in the catalogue)", f.customers, f.exposed, f.messages, f.clicks, f.conversions)
        for f, name in busiest
    ]
    return head + "\n".join(f"| {' | '.join(map(str, row))} |" for row in shown)
