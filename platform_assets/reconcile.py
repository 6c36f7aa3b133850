"""The one way a store follows its source: compare ledgers, write what differs, and say what it now reflects.

A first load, a change, a deletion, the rest of a run that was cut off, a lost store and a new code version are all the
same thing here: entries whose hash in the target's ledger differs from the source's.
"""

import hashlib
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Protocol

import dagster as dg
from msgspec import Struct

from stores.ledger import Change, Extent, Head, Ledger
from stores.sql import chunks

REBUILT = "a rebuild was asked for"
OTHER_VERSION = "the code or a setting that shapes the content is another one"


class Mirror(Protocol):
    """A store that follows a ledger. Every method may be called again after a crash, with the same effect."""

    def stamp(self) -> str | None:
        """The mark that ties the store to its ledger, or None in an empty store."""

    def set_stamp(self, value: str) -> None: ...

    def intact(self, extent: Extent) -> bool:
        """Whether the store holds as much as its ledger says."""

    def present(self) -> Iterator[tuple[str, str]]:
        """(id, owner) of everything the store is found to hold: asked when it does not match its ledger."""

    def distrusted(self) -> None:
        """Remembers, across any crash, that what the store derived is to be computed anew: all entries will be taken up again."""

    def apply(self, changes: Sequence[Change]) -> set[str]:
        """Writes one batch and returns the ids that the store holds a row for. Upserts come first, deletions last."""

    def finish(self) -> None:
        """Computes what is derived from the batches, and makes the store ready for readers."""


class Reflection(Struct, frozen=True, kw_only=True):
    """What one reconciliation did. `entries` is how many the store reflects, `held` how many it keeps a row for."""

    digest: str
    entries: int
    held: int
    upserted: int
    deleted: int
    seconds: float
    recovered: str | None = None

    @property
    def changed(self) -> int:
        return self.upserted + self.deleted


class Reconciliation(Struct, frozen=True, kw_only=True):
    """What follows what: `target` reflects `source`, made by code and settings named in `version`."""

    source: str
    target: str
    version: str
    batch_rows: int


def reconcile(ledger: Ledger, mirror: Mirror, plan: Reconciliation, *, delta: list[Change] | None = None, anew: bool = False) -> Reflection:
    """Makes a store reflect its source and returns what that took. Nothing is written where nothing differs.

    `delta`, where given, receives the changes that were written. With `anew` the ledger is not believed: every entry is
    taken up again in place, and what no source names is dropped.
    """
    began = time.monotonic()
    recovered = ensure_trust(ledger, mirror, plan)
    if anew:
        recovered = REBUILT
        mirror.distrusted()
        ledger.distrust(plan.target, mirror.present())
    upserted = deleted = 0
    differ = ledger.digest(plan.source) != ledger.digest(plan.target)
    changes = ledger.changes(source=plan.source, target=plan.target) if differ else ()
    for number, batch in enumerate(chunks(changes, plan.batch_rows)):
        if number == 0:
            renew_stamp(ledger, mirror, plan)
        ledger.intend(plan.target, batch)
        ledger.note(plan.target, batch, held=mirror.apply(batch))
        gone = sum(change.content_hash is None for change in batch)
        upserted, deleted = upserted + len(batch) - gone, deleted + gone
        if delta is not None:
            delta.extend(batch)
    if upserted or deleted or recovered or ledger.touched(plan.target):
        mirror.finish()
        ledger.settle(plan.target)
    totals = ledger.keep_totals(plan.target)
    return Reflection(
        digest=totals.digest,
        entries=totals.extent.rows,
        held=totals.extent.held,
        upserted=upserted,
        deleted=deleted,
        seconds=time.monotonic() - began,
        recovered=recovered,
    )


def ensure_trust(ledger: Ledger, mirror: Mirror, plan: Reconciliation) -> str | None:
    """Sees to it that the ledger speaks of this store and this code; returns why it had to be distrusted, or None."""
    head, stamp, reason = ledger.head(plan.target), mirror.stamp(), None
    known = (head.stamp, head.next_stamp) if head else (None,)
    if stamp not in known or (head and not mirror.intact(ledger.extent(plan.target))):
        reason = "the store is not the one its ledger speaks of: it was lost, emptied or restored"
        mirror.distrusted()
        ledger.distrust(plan.target, mirror.present())
    elif head and head.version != plan.version:
        reason = OTHER_VERSION
        mirror.distrusted()
        ledger.distrust(plan.target)
    elif head:
        return None
    renew_stamp(ledger, mirror, plan)
    return reason


def renew_stamp(ledger: Ledger, mirror: Mirror, plan: Reconciliation) -> None:
    """Gives store and ledger a new mark in common, so that an older copy of either is known for what it is."""
    head, fresh = ledger.head(plan.target), uuid.uuid4().hex
    ledger.set_head(plan.target, Head(version=plan.version, stamp=head.stamp if head else "", next_stamp=fresh))
    mirror.set_stamp(fresh)
    ledger.set_head(plan.target, Head(version=plan.version, stamp=fresh))


def version_of(*parts: object) -> str:
    """16 hex digits over the code version and the settings that shape what a store holds."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def reflected(reflection: Reflection, plan: Reconciliation, **metadata: dg.MetadataValue | int | float | str) -> dg.MaterializeResult:
    """What Dagster is told. Equal content gives an equal data version, so nothing downstream is thought to be stale."""
    said: dict[str, dg.MetadataValue | int | float | str] = {
        "dagster/row_count": reflection.held,
        "upserted": reflection.upserted,
        "deleted": reflection.deleted,
        "seconds": round(reflection.seconds, 3),
        "rows_per_second": round(reflection.changed / reflection.seconds, 1) if reflection.changed else 0.0,
        "outcome": "nothing changed" if not reflection.changed else f"{reflection.upserted} taken up, {reflection.deleted} dropped",
    }
    if reflection.recovered:
        said["recovered"] = reflection.recovered
    return dg.MaterializeResult(data_version=dg.DataVersion(f"{plan.version}-{reflection.digest}"), metadata=said | metadata)
