"""Engagement figures and the campaign catalogue, in SQL: SQLite by default, any database by URL.

`events` holds one row per record; everything else is computed anew from it for the customers and campaigns that a
change touches, never incremented, so that any history ends in the same figures. An event counts as engagement where
its weight is above 0; an impression, or a mailing of the campaign's group, is exposure.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    Label,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    case,
    delete,
    func,
    insert,
    select,
    union,
)

from stores.errors import ContractBroken
from stores.evidence import CampaignDay, CampaignFigures, Catalogue
from stores.records import Campaign, Tally
from stores.sql import chunks, execute_each, reading, remove_rows, replace_rows, writing

SCHEMA_VERSION = 1
BATCH_ROWS = 500

metadata = MetaData()
events = Table(
    "events",
    metadata,
    Column("key", String(130), primary_key=True),
    Column("user_id", String(128), nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("day", String(10), nullable=False),
    Column("event", String(16), nullable=False),
    Column("campaign_id", String(128), index=True),
    Column("group", String(512)),
    Column("intent", String(512)),
    Column("weight", Float, nullable=False),
    Index("events_by_group", "group", "event"),
)
campaigns = Table(
    "campaigns",
    metadata,
    Column("campaign_id", String(128), primary_key=True),
    Column("group", String(512), index=True),
    Column("body", Text, nullable=False),
)
engagement = Table(
    "engagement",
    metadata,
    Column("user_id", String(128), primary_key=True),
    Column("campaign_id", String(128), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("weight", Float, nullable=False),
    Column("last_at_ms", BigInteger, nullable=False),
)
figures = Table(
    "campaign_figures",
    metadata,
    Column("campaign_id", String(128), primary_key=True),
    Column("customers", Integer, nullable=False),
    Column("exposed", Integer, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("clicks", Integer, nullable=False),
    Column("conversions", Integer, nullable=False),
    Column("weight", Float, nullable=False),
    Column("last_at_ms", BigInteger, nullable=False),
)
days = Table(
    "campaign_days",
    metadata,
    Column("campaign_id", String(128), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("impressions", Integer, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("clicks", Integer, nullable=False),
    Column("conversions", Integer, nullable=False),
    Column("weight", Float, nullable=False),
)
state = Table("metrics_state", metadata, Column("name", String(32), primary_key=True), Column("value", String(64), nullable=False))


class EventRow(Struct, frozen=True, kw_only=True):
    """One record as the figures need it; `weight` is 0 where it is no engagement."""

    key: str
    user_id: str
    at_ms: int
    day: str
    event: str
    weight: float
    campaign_id: str | None = None
    group: str | None = None
    intent: str | None = None


class EngagementTotals(Struct, frozen=True, kw_only=True):
    """Sums over all engagement, by customer and by campaign: equal unless a figure is wrong."""

    events: int
    events_weight: float
    by_customer: int
    by_customer_weight: float
    by_campaign: int
    by_campaign_weight: float
    by_day: int


class Metrics:
    """The figures and the catalogue, in the database that `engine` opens."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def prepare(self) -> None:
        """Makes the tables where they are missing.

        Raises:
            ContractBroken: the tables were made by another version of the platform.
        """
        with writing(self._engine) as connection:
            metadata.create_all(connection)
            found = connection.scalar(select(state.c.value).where(state.c.name == "schema"))
            if found is None:
                connection.execute(insert(state).values(name="schema", value=str(SCHEMA_VERSION)))
            elif found != str(SCHEMA_VERSION):
                raise ContractBroken("sql", f"the metrics have schema version {found}, this platform reads version {SCHEMA_VERSION}")

    def ping(self) -> None:
        """Returns once the database has answered a statement."""
        with reading(self._engine) as connection:
            connection.execute(select(1))

    def close(self) -> None:
        self._engine.dispose()

    def stamp(self) -> str | None:
        """The mark that ties the ledger to these tables, or None in a database that was never written."""
        with reading(self._engine) as connection:
            return connection.scalar(select(state.c.value).where(state.c.name == "stamp"))

    def set_stamp(self, value: str) -> None:
        with writing(self._engine) as connection:
            replace_rows(connection, state, [{"name": "stamp", "value": value}])

    def counts(self) -> dict[str, int]:
        """Rows by table."""
        with reading(self._engine) as connection:
            tables = (events, campaigns, engagement, figures, days)
            return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables}

    def keys(self) -> Iterator[tuple[str, str]]:
        """(key, customer) of every event row and (key, "") of every campaign row, streamed."""
        with reading(self._engine) as connection:
            for row in connection.execution_options(yield_per=BATCH_ROWS).execute(select(events.c.key, events.c.user_id)):
                yield row.key, row.user_id
            for row in connection.execute(select(campaigns.c.campaign_id)):
                yield f"c:{row.campaign_id}", ""

    def campaigns_of(self, keys: Sequence[str]) -> set[str]:
        """The campaigns whose figures the event rows with these keys count towards now."""
        with reading(self._engine) as connection:
            found: set[str] = set()
            for batch in chunks(keys, BATCH_ROWS):
                of_rows = select(events.c.campaign_id, events.c.group, events.c.event).where(events.c.key.in_(batch))
                rows = connection.execute(of_rows).all()
                found |= {row.campaign_id for row in rows if row.campaign_id}
                found |= _campaigns_in(connection, {row.group for row in rows if row.event == "mailing" and row.group})
            return found

    def campaigns_in(self, groups: set[str]) -> set[str]:
        """The campaigns that belong to these groups."""
        with reading(self._engine) as connection:
            return _campaigns_in(connection, groups)

    def put(self, *, rows: Sequence[EventRow], catalogue: Sequence[Campaign], gone: Sequence[str], users: Sequence[str]) -> None:
        """Upserts event rows and campaigns, drops the keys `gone`, and computes the engagement of `users` anew: one transaction."""
        with writing(self._engine) as connection:
            remove_rows(connection, events, [{"key": key} for key in gone if key.startswith("m:")])
            remove_rows(connection, campaigns, [{"campaign_id": key[2:]} for key in gone if key.startswith("c:")])
            replace_rows(connection, events, [msgspec.structs.asdict(row) for row in rows])
            replace_rows(connection, campaigns, [_stored(campaign) for campaign in catalogue])
            for batch in chunks(users, BATCH_ROWS):
                connection.execute(delete(engagement).where(engagement.c.user_id.in_(batch)))
                connection.execute(insert(engagement).from_select(list(engagement.c.keys()), _engagement_of(batch)))

    def recount(self, campaign_ids: Sequence[str]) -> None:
        """Computes the figures of these campaigns anew, in all and by day, in one transaction."""
        with writing(self._engine) as connection:
            _recount(connection, campaign_ids)

    def replace(self, batches: Iterable[tuple[Sequence[EventRow], Sequence[Campaign]]]) -> int:
        """Puts these event rows and campaigns, each key once, in place of all, and computes everything from them: one transaction.

        Readers see what was there before until the end. Returns how many rows were put.
        """
        put = 0
        with writing(self._engine) as connection:
            for table in (events, campaigns, engagement, figures, days):
                connection.execute(delete(table))
            for rows, catalogue in batches:
                put += len(rows) + len(catalogue)
                execute_each(connection, insert(events), [msgspec.structs.asdict(row) for row in rows])
                execute_each(connection, insert(campaigns), [_stored(campaign) for campaign in catalogue])
            for users in chunks(connection.scalars(select(events.c.user_id).distinct()).all(), BATCH_ROWS):
                connection.execute(insert(engagement).from_select(list(engagement.c.keys()), _engagement_of(users)))
            named = select(events.c.campaign_id).where(events.c.campaign_id.is_not(None))
            _recount(connection, connection.scalars(union(named, select(campaigns.c.campaign_id))).all())
        return put

    def events_of(self, user_ids: Sequence[str]) -> dict[str, EventRow]:
        """The event rows of these customers, by key."""
        with reading(self._engine) as connection:
            found = (row for batch in chunks(user_ids, BATCH_ROWS) for row in connection.execute(_rows_of(events, batch)))
            return {row.key: EventRow(**row._mapping) for row in found}

    def engagement_of(self, user_ids: Sequence[str]) -> dict[tuple[str, str], Tally]:
        """What is counted of these customers, by customer and campaign."""
        with reading(self._engine) as connection:
            found = (row for batch in chunks(user_ids, BATCH_ROWS) for row in connection.execute(_rows_of(engagement, batch)))
            return {(row.user_id, row.campaign_id): Tally(count=row[2], weight=row[3], last_at_ms=row[4]) for row in found}

    def most_active(self, limit: int) -> list[str]:
        """The customers who engaged most often, at most `limit`, the most active first."""
        times = func.sum(engagement.c.count)
        ordered = select(engagement.c.user_id).group_by(engagement.c.user_id).order_by(times.desc(), engagement.c.user_id).limit(limit)
        with reading(self._engine) as connection:
            return list(connection.scalars(ordered))

    def days(self) -> Iterator[CampaignDay]:
        """Every campaign's days, streamed."""
        with reading(self._engine) as connection:
            for row in connection.execution_options(yield_per=BATCH_ROWS).execute(select(days)):
                yield CampaignDay(**row._mapping)

    def groups(self) -> dict[str, str | None]:
        """The group by which a mailing counts towards each campaign."""
        with reading(self._engine) as connection:
            return {row[0]: row[1] for row in connection.execute(select(campaigns.c.campaign_id, campaigns.c.group))}

    def catalogue(self) -> Catalogue:
        """All campaigns with their figures, in all and by day, and the time of the newest record: as of one moment."""
        with reading(self._engine) as connection:
            bodies = connection.scalars(select(campaigns.c.body))
            found = [msgspec.json.decode(body, type=Campaign) for body in bodies]
            counted = [_figures(row) for row in connection.execute(select(figures))]
            by_day = select(days).order_by(days.c.campaign_id, days.c.day)
            return Catalogue(
                campaigns={c.campaign_id: c for c in found},
                figures={f.campaign_id: f for f in counted},
                days=tuple(CampaignDay(**row._mapping) for row in connection.execute(by_day)),
                newest_ms=_newest_ms(connection),
            )

    def busiest(self, limit: int) -> list[tuple[CampaignFigures, str | None]]:
        """The campaigns with the most engaged customers, at most `limit`, the most first, each with its name where one is known."""
        named = select(figures, campaigns.c.body).outerjoin(campaigns, campaigns.c.campaign_id == figures.c.campaign_id)
        ordered = named.order_by(figures.c.customers.desc(), figures.c.campaign_id).limit(limit)
        with reading(self._engine) as connection:
            return [
                (_figures(row), msgspec.json.decode(row.body, type=Campaign).name if row.body else None)
                for row in connection.execute(ordered)
            ]

    def newest_ms(self) -> int:
        """The time of the newest record, epoch ms; 0 where there is none."""
        with reading(self._engine) as connection:
            return _newest_ms(connection)

    def totals(self) -> EngagementTotals:
        """What the blocking check compares: the same engagement, summed three ways."""
        with reading(self._engine) as connection:
            engaged = (events.c.weight > 0) & events.c.campaign_id.is_not(None)
            raw = connection.execute(select(func.count(), func.sum(events.c.weight)).where(engaged)).one()
            users = connection.execute(select(func.sum(engagement.c.count), func.sum(engagement.c.weight))).one()
            interactions = [figures.c.messages + figures.c.clicks + figures.c.conversions, figures.c.weight]
            by_campaign = connection.execute(select(*(func.sum(column) for column in interactions))).one()
            by_day = connection.scalar(select(func.sum(days.c.messages + days.c.clicks + days.c.conversions)))
        return EngagementTotals(
            events=raw[0] or 0,
            events_weight=raw[1] or 0.0,
            by_customer=users[0] or 0,
            by_customer_weight=users[1] or 0.0,
            by_campaign=by_campaign[0] or 0,
            by_campaign_weight=by_campaign[1] or 0.0,
            by_day=by_day or 0,
        )


def _newest_ms(connection: Connection) -> int:
    return connection.scalar(select(func.max(events.c.at_ms))) or 0


def _recount(connection: Connection, campaign_ids: Sequence[str]) -> None:
    for batch in chunks(campaign_ids, BATCH_ROWS):
        for table in (figures, days):
            connection.execute(delete(table).where(table.c.campaign_id.in_(batch)))
        exposed = _exposed_by_campaign(connection, batch)
        engaged = {row.campaign_id: row for row in connection.execute(_figures_of(batch))}
        known = engaged.keys() | exposed.keys()
        if known:
            counted = [_figures_row(campaign_id, engaged.get(campaign_id), exposed.get(campaign_id, 0)) for campaign_id in sorted(known)]
            connection.execute(insert(figures), counted)
        connection.execute(insert(days).from_select(list(days.c.keys()), _days_of(batch)))


def _rows_of(table: Table, user_ids: Sequence[str]) -> Select[Any]:
    return select(table).where(table.c.user_id.in_(user_ids))


def _stored(campaign: Campaign) -> dict[str, object]:
    return {"campaign_id": campaign.campaign_id, "group": campaign.group, "body": msgspec.json.encode(campaign).decode()}


def _campaigns_in(connection: Connection, groups: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for batch in chunks(sorted(groups), BATCH_ROWS):
        found.update(connection.scalars(select(campaigns.c.campaign_id).where(campaigns.c.group.in_(batch))))
    return found


def _engagement_of(users: Sequence[str]) -> Select[Any]:
    """The columns of `engagement` for these customers."""
    return (
        select(events.c.user_id, events.c.campaign_id, func.count(), func.sum(events.c.weight), func.max(events.c.at_ms))
        .where(events.c.user_id.in_(users), events.c.weight > 0, events.c.campaign_id.is_not(None))
        .group_by(events.c.user_id, events.c.campaign_id)
    )


def _counted(event: str) -> Label[Any]:
    """How many events of one kind are engagement."""
    return func.coalesce(func.sum(case(((events.c.event == event) & (events.c.weight > 0), 1), else_=0)), 0).label(f"{event}s")


def _figures_of(campaign_ids: Sequence[str]) -> Select[Any]:
    """The columns of `campaign_figures` but `exposed`, for those of these campaigns that were engaged with."""
    return (
        select(
            events.c.campaign_id,
            func.count(events.c.user_id.distinct()).label("customers"),
            *(_counted(event) for event in ("message", "click", "conversion")),
            func.sum(events.c.weight).label("weight"),
            func.max(events.c.at_ms).label("last_at_ms"),
        )
        .where(events.c.campaign_id.in_(campaign_ids), events.c.weight > 0)
        .group_by(events.c.campaign_id)
    )


def _days_of(campaign_ids: Sequence[str]) -> Select[Any]:
    """The columns of `campaign_days` for these campaigns."""
    impressions = func.sum(case((events.c.event == "impression", 1), else_=0))
    return (
        select(
            events.c.campaign_id,
            events.c.day,
            impressions,
            *(_counted(event) for event in ("message", "click", "conversion")),
            func.sum(events.c.weight),
        )
        .where(events.c.campaign_id.in_(campaign_ids))
        .where((events.c.weight > 0) | (events.c.event == "impression"))
        .group_by(events.c.campaign_id, events.c.day)
    )


def _exposed_by_campaign(connection: Connection, campaign_ids: Sequence[str]) -> dict[str, int]:
    """Distinct customers who saw an impression of a campaign or got a mailing of its group."""
    seen = select(events.c.campaign_id, events.c.user_id).where(events.c.event == "impression", events.c.campaign_id.in_(campaign_ids))
    mailed = (
        select(campaigns.c.campaign_id, events.c.user_id)
        .join(events, (events.c.group == campaigns.c.group) & (events.c.event == "mailing"))
        .where(campaigns.c.campaign_id.in_(campaign_ids))
    )
    both = union(seen, mailed).subquery()
    counted = connection.execute(select(both.c.campaign_id, func.count()).group_by(both.c.campaign_id)).all()
    return {row[0]: row[1] for row in counted}


def _figures(row: Row[Any]) -> CampaignFigures:
    return CampaignFigures(**{name: getattr(row, name) for name in CampaignFigures.__struct_fields__})


def _figures_row(campaign_id: str, engaged: Row[Any] | None, exposed: int) -> dict[str, object]:
    counted = CampaignFigures(campaign_id=campaign_id, exposed=exposed)
    if engaged is not None:
        columns = ("customers", "messages", "clicks", "conversions", "weight", "last_at_ms")
        counted = msgspec.structs.replace(counted, **{name: getattr(engaged, name) for name in columns})
    return msgspec.structs.asdict(counted)
