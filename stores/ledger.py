"""What every store reflects, in one SQL table: which version of each entry it has taken in, and whose entry it is.

A ledger row says "this store reflects entry `id` with this content hash". A store is up to date when its ledger equals
the ledger of its source, so one comparison serves a first load, a change, a deletion, a crash half-way and a new code
version alike. Rows lie in buckets; a bucket's digest is the sum of its rows' 48-bit marks, so two ledgers are compared
by one grouped scan each, and only buckets that differ are read. What a scan of a whole ledger found, its digest and its
extent, is kept until an entry changes: a refresh of unchanged data reads no entry.

A change is written ahead: `intend` blanks the hashes of a batch, then the store is written, then `note` says what it
now holds, and `settle` makes it count once everything that is derived from it is written too. Whatever happens in
between, a blank hash differs from the source's, so the next run takes that entry up again; and the ledger always names
at least everything that the store may hold. The head's `stamp` is kept in the store as well and drawn anew by every run
that writes: a store that carries another one, or another number of rows, was lost or restored behind the ledger's back.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, structs
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    union_all,
    update,
)

from stores.errors import ContractBroken
from stores.sql import chunks, execute_each, reading, replace_rows, writing

SCHEMA_VERSION = 1
BUCKETS = 4096
MARK_BITS = 48  # a bucket's sum of marks stays inside 63 bits up to 32,768 rows a bucket: 134 million entries
BATCH_ROWS = 1000

metadata = MetaData()
rows = Table(
    "ledger",
    metadata,
    Column("store", String(160), primary_key=True),
    Column("id", String(130), primary_key=True),
    Column("bucket", Integer, nullable=False),
    Column("content_hash", String(32), nullable=False),  # "" where a write was begun and not yet settled
    Column("mark", BigInteger, nullable=False),
    Column("owner", String(128), nullable=False),
    Column("held", Boolean, nullable=False),
    Column("next_hash", String(32)),  # "" means: gone once settled
    Column("next_mark", BigInteger),
    Column("next_owner", String(128)),
    Column("next_held", Boolean),
    Index("ledger_by_bucket", "store", "bucket", "mark"),
    sqlite_with_rowid=False,  # the entries of a ledger lie together, by id: a scan of one reads nothing else
)
begun = rows.c.content_hash == literal_column("''")  # as a literal, for SQLite and PostgreSQL to find the index
Index("ledger_unsettled", rows.c.store, sqlite_where=begun, postgresql_where=begun)
heads = Table(
    "ledger_heads",
    metadata,
    Column("store", String(160), primary_key=True),
    Column("version", String(64), nullable=False),
    Column("stamp", String(64), nullable=False),
    Column("next_stamp", String(64), nullable=False),
)
totals = Table(
    "ledger_totals",
    metadata,
    Column("store", String(160), primary_key=True),
    Column("digest", String(32), nullable=False),
    *(Column(name, Integer, nullable=False) for name in ("rows", "held", "owners", "unsettled", "all_owners")),
)
touched = Table("ledger_touched", metadata, Column("store", String(160), primary_key=True), Column("key", String(130), primary_key=True))
schema = Table("ledger_schema", metadata, Column("version", Integer, primary_key=True))


class Change(Struct, frozen=True):
    """One entry that a store must take up, or drop where `content_hash` is None.

    `former_owner` is the customer whom the store still counts it to, where that is somebody else.
    """

    id: str
    content_hash: str | None
    owner: str
    former_owner: str | None = None


class Entry(Struct, frozen=True):
    """One entry of a ledger that is read or written as a whole."""

    id: str
    content_hash: str
    owner: str


class Head(Struct, frozen=True):
    """What a ledger's rows were made by (`version`), and the mark that its store carries (`stamp`).

    A new mark is noted as `next_stamp` before the store is given it: a run cut off in between leaves either of the two.
    """

    version: str
    stamp: str
    next_stamp: str = ""


class Extent(Struct, frozen=True):
    """How much a store must hold by its ledger: settled rows for certain, unsettled ones perhaps."""

    rows: int
    held: int
    owners: int
    unsettled: int
    all_owners: int


class Totals(Struct, frozen=True):
    """What a scan of a whole ledger finds."""

    digest: str
    extent: Extent


def bucket_of(entry_id: str) -> int:
    """The bucket, 0 to 4095, that an entry lies in."""
    return int.from_bytes(hashlib.blake2b(entry_id.encode(), digest_size=2).digest(), "big") % BUCKETS


def mark_of(entry_id: str, content_hash: str) -> int:
    """48 bits over an entry and its content; buckets are compared by the sums of these."""
    return int.from_bytes(hashlib.blake2b(f"{entry_id}\n{content_hash}".encode(), digest_size=MARK_BITS // 8).digest(), "big")


def owners_of(changes: Iterable[Change]) -> list[str]:
    """Every customer whom these changes touch, once each, in order; entries without an owner touch nobody."""
    return sorted({owner for change in changes for owner in (change.owner, change.former_owner) if owner})


class Ledger:
    """The ledgers of all stores, in the database that `engine` opens."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def prepare(self) -> None:
        """Makes the tables where they are missing.

        Raises:
            ContractBroken: the tables were made by another version of the platform.
        """
        with writing(self._engine) as connection:
            metadata.create_all(connection)
            found = connection.scalar(select(schema.c.version))
            if found is None:
                connection.execute(insert(schema).values(version=SCHEMA_VERSION))
            elif found != SCHEMA_VERSION:
                raise ContractBroken("sql", f"the ledger has schema version {found}, this platform reads version {SCHEMA_VERSION}")

    def head(self, store: str) -> Head | None:
        """The head of a store's ledger, or None before its first write."""
        with reading(self._engine) as connection:
            row = connection.execute(select(heads).where(heads.c.store == store)).first()
        return Head(row.version, row.stamp, row.next_stamp) if row else None

    def set_head(self, store: str, head: Head) -> None:
        with writing(self._engine) as connection:
            replace_rows(connection, heads, [{"store": store} | structs.asdict(head)])

    def stores(self) -> list[str]:
        """The names of all ledgers that have a head."""
        with reading(self._engine) as connection:
            return list(connection.scalars(select(heads.c.store).order_by(heads.c.store)))

    def digest(self, store: str) -> str:
        """32 hex digits over every settled entry of a store: equal ledgers, equal digest, whatever their history."""
        with reading(self._engine) as connection:
            kept = _kept(connection, store)
            return kept.digest if kept else _digest(connection, store)

    def extent(self, store: str) -> Extent:
        """How many entries, held rows and owners a store's ledger names."""
        with reading(self._engine) as connection:
            kept = _kept(connection, store)
            return kept.extent if kept else _extent(connection, store)

    def keep_totals(self, store: str) -> Totals:
        """The digest and the extent, for which a ledger is scanned no more until it changes."""
        with reading(self._engine) as connection:
            if kept := _kept(connection, store):
                return kept
        with writing(self._engine) as connection:
            counted = _counted(connection, store)
            replace_rows(connection, totals, [{"store": store, "digest": counted.digest} | structs.asdict(counted.extent)])
        return counted

    def totals_hold(self, store: str) -> bool:
        """Whether what is kept of a ledger is what a scan finds, or nothing is kept."""
        with reading(self._engine) as connection:
            return _kept(connection, store) in (None, _counted(connection, store))

    def changes(self, *, source: str, target: str) -> Iterator[Change]:
        """What `target` must take up or drop to equal `source`, by owner and then id, streamed.

        Costs a grouped scan of both and the rows of the buckets that differ. The caller may write ledgers meanwhile.
        """
        with reading(self._engine) as connection:
            differing = connection.scalars(_differing(source, target)).all()
            if differing:
                query = _difference(source, target, differing)
                for row in connection.execution_options(yield_per=BATCH_ROWS).execute(query):
                    yield Change(row.id, row.content_hash, row.owner, row.former_owner)

    def intend(self, store: str, changes: Sequence[Change]) -> None:
        """Written ahead of a batch: from here on the store may hold either the old or the new version of these entries."""
        ids = [change.id for change in changes]
        with writing(self._engine) as connection:
            known = set(connection.scalars(select(rows.c.id).where(rows.c.store == store, rows.c.id.in_(ids))))
            _forget_totals(connection, store)
            connection.execute(
                update(rows)
                .where(rows.c.store == store, rows.c.id.in_(ids))
                .values(content_hash="", mark=0, next_hash=null(), next_mark=null(), next_owner=null(), next_held=null())
            )
            fresh = [_blank(store, change.id, change.owner) for change in changes if change.id not in known]
            execute_each(connection, insert(rows), fresh)

    def note(self, store: str, changes: Sequence[Change], *, held: set[str]) -> None:
        """Written after the store acknowledged a batch: what it now reflects, and for which of these entries it holds a row."""
        with writing(self._engine) as connection:
            gone = [change.id for change in changes if change.content_hash is None]
            connection.execute(update(rows).where(rows.c.store == store, rows.c.id.in_(gone)).values(next_hash=""))
            kept = [_noted(change, held=change.id in held) for change in changes if change.content_hash is not None]
            execute_each(connection, update(rows).where(rows.c.store == store, rows.c.id == bindparam("noted_id")), kept)

    def settle(self, store: str) -> None:
        """Makes everything noted count, in one transaction, and forgets what was touched on the way."""
        unsettled = (rows.c.store == store) & begun
        with writing(self._engine) as connection:
            gone = connection.execute(delete(rows).where(unsettled, rows.c.next_hash == ""))
            kept = connection.execute(
                update(rows)
                .where(unsettled, rows.c.next_hash.is_not(None))
                .values(
                    content_hash=rows.c.next_hash, mark=rows.c.next_mark, owner=rows.c.next_owner, held=rows.c.next_held, next_hash=null()
                )
            )
            if gone.rowcount or kept.rowcount:
                _forget_totals(connection, store)
            connection.execute(delete(touched).where(touched.c.store == store))

    def distrust(self, store: str, present: Iterable[tuple[str, str]] = ()) -> None:
        """Blanks every entry of a store, so that all are taken up again.

        `present` are (id, owner) of what the store was found to hold: those that no source names will be dropped.
        """
        with writing(self._engine) as connection:
            _forget_totals(connection, store)
            connection.execute(update(rows).where(rows.c.store == store).values(content_hash="", mark=0, next_hash=null()))
            for batch in chunks(present, BATCH_ROWS):
                found = dict(batch)
                known = set(connection.scalars(select(rows.c.id).where(rows.c.store == store, rows.c.id.in_(found))))
                fresh = [_blank(store, entry_id, owner) for entry_id, owner in found.items() if entry_id not in known]
                execute_each(connection, insert(rows), fresh)

    def rewrite(self, store: str, entries: Iterable[Entry]) -> None:
        """Puts `entries` in place of a store's whole ledger, in one transaction; all count as held."""
        with writing(self._engine) as connection:
            _forget_totals(connection, store)
            connection.execute(delete(rows).where(rows.c.store == store))
            for batch in chunks(entries, BATCH_ROWS):
                execute_each(connection, insert(rows), [_settled(store, entry) for entry in batch])

    def touch(self, store: str, keys: Iterable[str]) -> None:
        """Remembers keys whose derived figures must be computed anew before the next `settle`, across any crash."""
        with writing(self._engine) as connection:
            for batch in chunks(sorted(set(keys)), BATCH_ROWS):
                replace_rows(connection, touched, [{"store": store, "key": key} for key in batch])

    def touched(self, store: str) -> list[str]:
        """The keys that were touched since the last `settle`, in order."""
        with reading(self._engine) as connection:
            return list(connection.scalars(select(touched.c.key).where(touched.c.store == store).order_by(touched.c.key)))

    def ids(self, store: str) -> list[str]:
        """The ids of all entries of a ledger, in order."""
        with reading(self._engine) as connection:
            return list(connection.scalars(select(rows.c.id).where(rows.c.store == store).order_by(rows.c.id)))

    def entries(self, store: str) -> Iterator[Entry]:
        """Every entry of a ledger by id, streamed; one whose write is not settled has the hash "". The caller may write meanwhile."""
        found = select(rows.c.id, rows.c.content_hash, rows.c.owner).where(rows.c.store == store).order_by(rows.c.id)
        with reading(self._engine) as connection:
            for row in connection.execution_options(yield_per=BATCH_ROWS).execute(found):
                yield Entry(row.id, row.content_hash, row.owner)

    def known(self, store: str, ids: Iterable[str]) -> set[str]:
        """Those of the ids that a ledger names."""
        with reading(self._engine) as connection:
            return {
                found
                for batch in chunks(ids, BATCH_ROWS)
                for found in connection.scalars(select(rows.c.id).where(rows.c.store == store, rows.c.id.in_(batch)))
            }

    def owners(self, store: str) -> Iterator[str]:
        """The customers whose entries a ledger names, in order, streamed. The caller may write meanwhile."""
        found = select(rows.c.owner).where(rows.c.store == store, rows.c.owner != "").distinct().order_by(rows.c.owner)
        with reading(self._engine) as connection:
            yield from connection.execution_options(yield_per=BATCH_ROWS).scalars(found)

    def unsettled(self, store: str) -> list[tuple[str, str]]:
        """(id, owner) of the entries whose write was begun and not settled: empty unless a run was cut off."""
        with reading(self._engine) as connection:
            found = connection.execute(select(rows.c.id, rows.c.owner).where(rows.c.store == store, begun))
            return [(row.id, row.owner) for row in found]

    def naming(self, owner: str) -> dict[str, int]:
        """How many entries of each ledger are, or are about to be, counted to a customer; ledgers without any are left out."""
        count = select(rows.c.store, func.count()).where(_named(owner)).group_by(rows.c.store)
        with reading(self._engine) as connection:
            return {row[0]: row[1] for row in connection.execute(count)}

    def drop_owner(self, store: str, owner: str) -> None:
        """Drops a customer's entries from the ledger of a store that follows no source any more, and was rid of them itself."""
        with writing(self._engine) as connection:
            _forget_totals(connection, store)
            connection.execute(delete(rows).where(rows.c.store == store, _named(owner)))

    def forget(self, store: str) -> None:
        """Drops a whole ledger: its store is gone."""
        with writing(self._engine) as connection:
            for table in (rows, heads, touched, totals):
                connection.execute(delete(table).where(table.c.store == store))


def _kept(connection: Connection, store: str) -> Totals | None:
    """What is kept of a ledger; None where it changed since."""
    row = connection.execute(select(totals).where(totals.c.store == store)).first()
    return Totals(row.digest, Extent(*row[2:])) if row else None


def _forget_totals(connection: Connection, store: str) -> None:
    """To be called in every transaction that changes an entry."""
    connection.execute(delete(totals).where(totals.c.store == store))


def _counted(connection: Connection, store: str) -> Totals:
    return Totals(_digest(connection, store), _extent(connection, store))


def _digest(connection: Connection, store: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for bucket in connection.execute(_buckets(store).order_by(rows.c.bucket)):
        digest.update(repr((bucket.bucket, bucket.entries, int(bucket.marks))).encode())
    return digest.hexdigest()


def _extent(connection: Connection, store: str) -> Extent:
    by_owner = (
        select(
            rows.c.owner,
            func.count().label("entries"),
            func.sum(case((~begun & rows.c.held, 1), else_=0)).label("held"),
            func.sum(case((begun, 1), else_=0)).label("unsettled"),
        )
        .where(rows.c.store == store)
        .group_by(rows.c.owner)
        .subquery()
    )
    of_customer = by_owner.c.owner != ""
    count = select(
        func.sum(by_owner.c.entries),
        func.sum(by_owner.c.held),
        func.sum(case((of_customer & (by_owner.c.held > 0), 1), else_=0)),
        func.sum(by_owner.c.unsettled),
        func.sum(case((of_customer, 1), else_=0)),
    )
    return Extent(*(int(value or 0) for value in connection.execute(count).one()))


def _named(owner: str) -> ColumnElement[bool]:
    return (rows.c.owner == owner) | (rows.c.next_owner == owner)


def _buckets(store: str) -> Select[tuple[int, int, int]]:
    """Per bucket: how many entries, and the sum of their marks; unsettled entries count, with mark 0."""
    return (
        select(rows.c.bucket, func.count().label("entries"), func.sum(rows.c.mark).label("marks"))
        .where(rows.c.store == store)
        .group_by(rows.c.bucket)
    )


def _differing(source: str, target: str) -> Select[int]:
    """The buckets in which two ledgers do not hold as many entries, or not the same."""
    each = (
        select(rows.c.bucket, func.count().label("entries"), func.sum(rows.c.mark).label("marks"))
        .where(rows.c.store.in_([source, target]))
        .group_by(rows.c.store, rows.c.bucket)
        .subquery()
    )
    alone = select(each.c.bucket).group_by(each.c.bucket, each.c.entries, each.c.marks).having(func.count() == 1)
    return select(alone.subquery().c.bucket).distinct()


def _difference(source: str, target: str, buckets: Sequence[int]) -> Select[tuple[str, str | None, str, str | None]]:
    """Rows (id, content_hash, owner, former_owner) of `Change`, ordered by owner and id."""
    theirs, ours = rows.alias("theirs"), rows.alias("ours")
    upserts = (
        select(
            theirs.c.id,
            theirs.c.content_hash,
            theirs.c.owner,
            case((ours.c.owner != theirs.c.owner, ours.c.owner), else_=null()).label("former_owner"),
        )
        .select_from(theirs.outerjoin(ours, (ours.c.store == target) & (ours.c.id == theirs.c.id)))
        .where(theirs.c.store == source, theirs.c.bucket.in_(buckets))
        .where(ours.c.id.is_(None) | (ours.c.content_hash != theirs.c.content_hash))
    )
    drops = (
        select(ours.c.id, null().label("content_hash"), ours.c.owner, null().label("former_owner"))
        .select_from(ours.outerjoin(theirs, (theirs.c.store == source) & (theirs.c.id == ours.c.id)))
        .where(ours.c.store == target, ours.c.bucket.in_(buckets), theirs.c.id.is_(None))
    )
    both = union_all(upserts, drops).subquery()
    return select(both.c.id, both.c.content_hash, both.c.owner, both.c.former_owner).order_by(both.c.owner, both.c.id)


def _blank(store: str, entry_id: str, owner: str) -> dict[str, object]:
    return {"store": store, "id": entry_id, "bucket": bucket_of(entry_id), "content_hash": "", "mark": 0, "owner": owner, "held": True}


def _settled(store: str, entry: Entry) -> dict[str, object]:
    return _blank(store, entry.id, entry.owner) | {"content_hash": entry.content_hash, "mark": mark_of(entry.id, entry.content_hash)}


def _noted(change: Change, *, held: bool) -> dict[str, object]:
    """What a row, still counted to its former owner, becomes once settled."""
    return {
        "noted_id": change.id,
        "next_hash": change.content_hash,
        "next_mark": mark_of(change.id, change.content_hash or ""),
        "next_owner": change.owner,
        "next_held": held,
    }
