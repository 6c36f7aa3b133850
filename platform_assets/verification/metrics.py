"""SQL against the records: every row, and every figure counted anew in plain Python."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, structs

from platform_assets.assets.metrics import event_row, plan_of
from platform_assets.assets.raw_docs import LEDGER as RECORDS
from platform_assets.resources import Stores
from platform_assets.verification.difference import Difference, ledger_differences
from stores.evidence import CampaignDay, CampaignFigures
from stores.metrics import EventRow
from stores.records import Campaign, Tally
from stores.sql import chunks

CUSTOMERS = 200
BATCH_ROWS = 1000
COUNTED_AS = {"message": "messages", "click": "clicks", "conversion": "conversions"}
WEIGHT_TOLERANCE = 1e-9  # of the sum: the order in which decimal weights are added up shows in the last digits


class Counted(Struct):
    """What the event rows amount to, as far as they were counted: grows with campaigns and days, not with the records."""

    groups: Mapping[str, Sequence[str]]
    figures: dict[str, Counter[str]]
    days: dict[tuple[str, str], Counter[str]]

    def add(self, rows: Iterable[EventRow]) -> dict[str, Tally]:
        """Counts all rows of one customer; gives that customer's engagement, by campaign."""
        engaged: dict[str, Tally] = {}
        exposed: set[str] = set()
        for row in rows:
            if row.event == "mailing" and row.group:
                exposed.update(self.groups.get(row.group, ()))
            if row.campaign_id is None:
                continue
            if row.event == "impression":
                exposed.add(row.campaign_id)
                self.days.setdefault((row.campaign_id, row.day), Counter())["impressions"] += 1
            if row.weight > 0:
                self._engage(row, row.campaign_id)
                seen = engaged.get(row.campaign_id, Tally(count=0, weight=0.0, last_at_ms=row.at_ms))
                latest = max(seen.last_at_ms, row.at_ms)
                engaged[row.campaign_id] = Tally(count=seen.count + 1, weight=seen.weight + row.weight, last_at_ms=latest)
        for field, campaigns in (("customers", engaged), ("exposed", exposed)):
            for campaign_id in campaigns:
                self.figures.setdefault(campaign_id, Counter())[field] += 1
        return engaged

    def _engage(self, row: EventRow, campaign_id: str) -> None:
        figures = self.figures.setdefault(campaign_id, Counter())
        figures["last_at_ms"] = max(figures["last_at_ms"], row.at_ms)
        for counts in (figures, self.days.setdefault((campaign_id, row.day), Counter())):
            counts[COUNTED_AS[row.event]] += 1
            counts["weight"] += row.weight  # type: ignore[assignment]  # a sum, in a Counter for its zero


def sql(stores: Stores, counts: Counter[str]) -> Iterator[Difference]:
    """The events are the records, the catalogue is MongoDB's, and every figure is what the events amount to."""
    yield from ledger_differences(stores, "sql", plan_of(stores), stamp=stores.metrics.stamp())
    catalogue = {campaign.campaign_id: campaign for campaign in stores.documents.campaigns()}
    counted = Counted(groups=by_group(catalogue.values()), figures={}, days={})
    for users in chunks(stores.ledger.owners(RECORDS), CUSTOMERS):
        yield from of_customers(stores, users, counted, counts)
    yield from catalogue_differences(stores, catalogue)
    yield from figure_differences(stores, counted)
    yield from extras(stores, counts)


def of_customers(stores: Stores, users: Sequence[str], counted: Counted, counts: Counter[str]) -> Iterator[Difference]:
    """What is wrong with the events and the engagement of these customers."""
    stored, engagement = stores.metrics.events_of(users), stores.metrics.engagement_of(users)
    counts["events"] += len(stored)
    counts["engagement"] += len(engagement)
    for user_id, records in stores.documents.records_of(users).items():
        rows = {record.key: event_row(record, stores.weights) for record in records}
        for key, row in rows.items():
            found = stored.pop(key, None)
            if found != row:
                detail = "its row is not what the record says" if found else "there is no row for this record"
                yield Difference(store="sql", kind="differs" if found else "missing", id=key, detail=detail)
        wanted = counted.add(rows.values())
        for campaign_id in sorted(wanted.keys() | {campaign for user, campaign in engagement if user == user_id}):
            found_tally = engagement.get((user_id, campaign_id))
            if not same(wanted.get(campaign_id), found_tally):
                kind = "differs" if campaign_id in wanted and found_tally else "missing" if campaign_id in wanted else "extra"
                yield Difference(
                    store="sql", kind=kind, id=f"engagement {user_id} {campaign_id}", detail="is not what the records amount to"
                )
    for key in sorted(stored):
        yield Difference(store="sql", kind="extra", id=key, detail="an event row that no record of the customer stands for")


def catalogue_differences(stores: Stores, catalogue: Mapping[str, Campaign]) -> Iterator[Difference]:
    """Whether the campaigns in SQL are those of MongoDB."""
    stored, groups = stores.metrics.catalogue().campaigns, stores.metrics.groups()
    for campaign_id in sorted(catalogue.keys() | stored.keys()):
        wanted, found = catalogue.get(campaign_id), stored.get(campaign_id)
        if wanted != found or (wanted and wanted.group != groups.get(campaign_id)):
            kind = "differs" if wanted and found else "missing" if wanted else "extra"
            yield Difference(store="sql", kind=kind, id=f"c:{campaign_id}", detail="the catalogue is not MongoDB's")


def figure_differences(stores: Stores, counted: Counted) -> Iterator[Difference]:
    """Whether the figures in all and by day are what the records amount to."""
    stored = stores.metrics.catalogue().figures
    for campaign_id in sorted(counted.figures.keys() | stored.keys()):
        wanted = CampaignFigures(campaign_id=campaign_id, **counted.figures[campaign_id]) if campaign_id in counted.figures else None
        yield from _figure(f"figures {campaign_id}", wanted, stored.get(campaign_id))
    left = dict(counted.days)
    for found in stores.metrics.days():
        counts = left.pop((found.campaign_id, found.day), None)
        wanted_day = CampaignDay(campaign_id=found.campaign_id, day=found.day, **counts) if counts else None
        yield from _figure(f"day {found.campaign_id} {found.day}", wanted_day, found)
    for campaign_id, day in sorted(left):
        yield Difference(store="sql", kind="missing", id=f"day {campaign_id} {day}", detail="the records have events of that day")


def _figure(id_: str, wanted: Struct | None, found: Struct | None) -> Iterator[Difference]:
    if not same(wanted, found):
        kind = "differs" if wanted and found else "missing" if wanted else "extra"
        yield Difference(store="sql", kind=kind, id=id_, detail=f"{', '.join(unequal(wanted, found))}: not what the records amount to")


def extras(stores: Stores, counts: Counter[str]) -> Iterator[Difference]:
    """Rows of customers of whom there is no record."""
    found = stores.metrics.counts()
    told = False
    if found["events"] != counts["events"]:
        keys = stores.metrics.keys()
        for batch in chunks((key for key, owner in keys if owner), BATCH_ROWS):
            for key in sorted(set(batch) - stores.documents.held(batch).keys()):
                told = True
                yield Difference(store="sql", kind="extra", id=key, detail="an event row that no record stands for")
    if found["engagement"] != counts["engagement"] or (found["events"] != counts["events"] and not told):
        detail = f"{found['events']} events and {found['engagement']} rows of engagement, for {counts['events']} and {counts['engagement']}"
        yield Difference(store="sql", kind="count", id="engagement", detail=detail)


def same(wanted: Struct | None, found: Struct | None) -> bool:
    """Whether two rows of figures are equal, their weights but for the last digits."""
    return (wanted is None) == (found is None) and not unequal(wanted, found)


def unequal(wanted: Struct | None, found: Struct | None) -> list[str]:
    """The names of the figures that differ; all where one of the two is not there."""
    ours, theirs = (structs.asdict(each) if each else {} for each in (wanted, found))
    return [
        name
        for name in ours | theirs
        if name not in ours
        or name not in theirs
        or not (math.isclose(ours[name], theirs[name], rel_tol=WEIGHT_TOLERANCE) if name == "weight" else ours[name] == theirs[name])
    ]


def by_group(catalogue: Iterable[Campaign]) -> dict[str, list[str]]:
    """The campaigns of each group."""
    groups: dict[str, list[str]] = {}
    for campaign in catalogue:
        if campaign.group:
            groups.setdefault(campaign.group, []).append(campaign.campaign_id)
    return groups
