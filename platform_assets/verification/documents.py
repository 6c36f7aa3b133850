"""MongoDB against its ledger, by hashes computed anew from what is stored; and the embeddings against what was said."""

from collections import Counter
from collections.abc import Iterator, Sequence

from platform_assets.assets import embeddings, raw_docs
from platform_assets.resources import Stores
from platform_assets.verification.difference import Difference, ledger_differences
from stores.documents import Held
from stores.ledger import Entry
from stores.records import Campaign, Record, content_hash
from stores.sql import chunks

BATCH_ROWS = 1000


def mongodb(stores: Stores, counts: Counter[str]) -> Iterator[Difference]:
    """Every entry of the ledger is stored with that content and that owner, and nothing else is stored."""
    yield from ledger_differences(stores, "mongodb", raw_docs.plan_of(stores), stamp=stores.documents.stamp(raw_docs.LEDGER))
    for batch in chunks(stores.ledger.entries(raw_docs.LEDGER), BATCH_ROWS):
        ids = [entry.id for entry in batch]
        stored, held = stores.documents.get(ids), stores.documents.held(ids)
        counts["entries"] += len(stored)
        for entry in batch:
            if detail := fault(entry, stored.get(entry.id), held.get(entry.id)):
                kind = "differs" if entry.id in stored else "missing"
                yield Difference(store="mongodb", kind=kind, id=entry.id, detail=detail)
    for batch in chunks((key for key, _ in stores.documents.scan()), BATCH_ROWS):
        for key in sorted(set(batch) - stores.ledger.known(raw_docs.LEDGER, batch)):
            yield Difference(store="mongodb", kind="extra", id=key, detail="is stored, and not in the ledger")


def fault(entry: Entry, stored: Record | Campaign | None, held: Held | None) -> str | None:
    """What is wrong with what is stored under an entry's key, or None."""
    if stored is None or held is None:
        return "is in the ledger, and not stored"
    if content_hash(stored) != entry.content_hash:
        return "its content is not what the ledger's hash was made of"
    if held.content_hash != entry.content_hash:
        return "its column content_hash is not its hash"
    return "it belongs to another customer than the ledger says" if held.owner != entry.owner else None


def embedded(stores: Stores, counts: Counter[str]) -> Iterator[Difference]:
    """Everything that a customer said, and every campaign's text, has a vector of the right dimension, finite and of length 1."""
    plan = embeddings.plan_of(stores)
    yield from ledger_differences(stores, "embeddings", plan, stamp=stores.documents.stamp(plan.target))
    for batch in chunks(stores.ledger.entries(raw_docs.LEDGER), BATCH_ROWS):
        yield from unsound(stores, batch, counts)


def unsound(stores: Stores, batch: Sequence[Entry], counts: Counter[str]) -> Iterator[Difference]:
    """The messages and campaigns of a batch whose text has no sound vector."""
    texts = embeddings.texts_of(stores, [entry.id for entry in batch])
    keys = {entry_id: stores.embedder.key(text) for entry_id, text in texts.items()}
    vectors = stores.documents.embeddings(set(keys.values()))
    counts["texts"] += len(keys)
    for entry_id, key in keys.items():
        if key not in vectors:
            yield Difference(store="embeddings", kind="missing", id=entry_id, detail="its text has no vector")
        elif not embeddings.sound(vectors[key], stores.embedder.dimension):
            detail = "its vector is not finite, not of length 1 or not of the model's dimension"
            yield Difference(store="embeddings", kind="differs", id=entry_id, detail=detail)
