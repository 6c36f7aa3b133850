"""What a comparison finds, and the part of it that is the same for every store: whether its ledger is in step."""

from collections.abc import Iterator
from itertools import islice

from msgspec import Struct

from platform_assets.reconcile import Reconciliation
from platform_assets.resources import Stores

MOST = 5  # of a ledger: the contents tell more of what is wrong


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that is not as it must be. No text that a customer wrote is in it.

    `kind` is missing, extra, differs, count (as many as there must not be), ledger, stamp, version, stale or unreadable.
    """

    store: str
    kind: str
    id: str
    detail: str


def ledger_differences(stores: Stores, store: str, plan: Reconciliation, *, stamp: str | None) -> Iterator[Difference]:
    """Whether a store's ledger is in step with its source, made by this code and these settings, and speaks of this very store."""

    def difference(kind: str, id_: str, detail: str) -> Difference:
        return Difference(store=store, kind=kind, id=id_, detail=detail)

    head = stores.ledger.head(plan.target)
    if head is None:
        yield difference("ledger", plan.target, "there is no ledger yet: a refresh is due")
        return
    if head.version != plan.version:
        yield difference("version", plan.target, "it was made by other code or settings: a refresh is due")
    if stamp not in (head.stamp, head.next_stamp):
        yield difference("stamp", plan.target, "the store is not the one its ledger speaks of: it was lost, emptied or restored")
    if not stores.ledger.totals_hold(plan.target):
        yield difference("ledger", plan.target, "the digest and the counts that are kept of it are not those of its entries")
    for entry_id, _ in stores.ledger.unsettled(plan.source)[:MOST]:
        yield difference("ledger", entry_id, "its write was begun and not finished")
    for change in islice(stores.ledger.changes(source=plan.source, target=plan.target), MOST):
        yield difference("ledger", change.id, "is to be dropped" if change.content_hash is None else "is to be taken up")
