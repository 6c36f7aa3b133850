"""Milvus against the embeddings: every message's and every campaign's row, and every customer's vector computed anew."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from platform_assets.assets import raw_docs
from platform_assets.assets.embeddings import sound, text_of
from platform_assets.assets.vectors import TOLERANCE, message_vector, plan_of
from platform_assets.resources import Stores
from platform_assets.verification.difference import Difference, ledger_differences
from ranking.engagement import user_vector
from stores.records import Record
from stores.sql import chunks
from stores.vectors import MessageVector

CUSTOMERS = 200
BATCH_ROWS = 1000


def milvus(stores: Stores, counts: Counter[str]) -> Iterator[Difference]:
    """The collections of these settings hold the messages, the customers and the campaigns that there are, and nothing else."""
    names, store = stores.collections, stores.vectors_as_found
    absent = sorted(names.names.difference(store.collections()))
    for name in absent:
        yield Difference(store="milvus", kind="missing", id=name, detail="there is no such collection: a refresh is due")
    if absent:
        return
    yield from ledger_differences(stores, "milvus", plan_of(stores), stamp=store.stamp(names.ledger))
    for users in chunks(stores.ledger.owners(raw_docs.LEDGER), CUSTOMERS):
        yield from of_customers(stores, users, counts)
    yield from of_campaigns(stores, counts)
    if store.count(names.messages) != counts["message_vectors"]:
        yield from extra_messages(stores, counts["message_vectors"])
    if store.count(names.users) != counts["user_vectors"]:
        yield from extra_users(stores, counts["user_vectors"])
    if store.count(names.campaigns) != counts["campaign_vectors"]:
        yield from extra_campaigns(stores, counts["campaign_vectors"])


def of_customers(stores: Stores, users: Sequence[str], counts: Counter[str]) -> Iterator[Difference]:
    """What is wrong with the rows of these customers."""
    said = {user_id: [r for r in records if r.speaks] for user_id, records in stores.documents.records_of(users).items()}
    spoken = [record for records in said.values() for record in records]
    keys = {record.message_id: stores.embedder.key(record.message or "") for record in spoken}
    embedded = {
        key: vector for key, vector in stores.documents.embeddings(set(keys.values())).items() if sound(vector, stores.embedder.dimension)
    }
    expected = {record.message_id: embedded[keys[record.message_id]] for record in spoken if keys[record.message_id] in embedded}
    rows = stores.vectors_as_found.messages(stores.collections.messages, keys)
    found = stores.vectors_as_found.get(stores.collections.users, users)
    counts["message_vectors"] += len(rows)
    counts["user_vectors"] += sum(user_id in found for user_id, records in said.items() if records)
    for record in spoken:
        if fault := message_fault(record, rows.get(record.message_id), expected.get(record.message_id)):
            kind = "differs" if record.message_id in rows else "missing"
            yield Difference(store="milvus", kind=kind, id=record.key, detail=fault)
    for user_id, records in said.items():
        if fault := user_fault(stores, records, found.get(user_id), expected):
            yield Difference(store="milvus", kind="differs" if user_id in found else "missing", id=user_id, detail=fault)


def of_campaigns(stores: Stores, counts: Counter[str]) -> Iterator[Difference]:
    """What is wrong with the rows of the campaigns. Where an embedding itself is missing or unsound its row is not judged."""
    for batch in chunks(stores.documents.campaigns(), BATCH_ROWS):
        keys = {campaign.campaign_id: stores.embedder.key(text_of(campaign) or "") for campaign in batch}
        embedded = stores.documents.embeddings(set(keys.values()))
        found = stores.vectors_as_found.get(stores.collections.campaigns, keys)
        counts["campaign_vectors"] += len(found)
        for campaign_id, key in keys.items():
            vector, wanted = found.get(campaign_id), embedded.get(key)
            if vector is None:
                yield Difference(store="milvus", kind="missing", id=f"c:{campaign_id}", detail="there is no row for this campaign")
            elif wanted is not None and sound(wanted, stores.embedder.dimension) and not close(vector, wanted):
                yield Difference(store="milvus", kind="differs", id=f"c:{campaign_id}", detail="its vector is not its embedding")


def message_fault(record: Record, row: MessageVector | None, vector: np.ndarray | None) -> str | None:
    """What is wrong with a message's row, or None. Where the embedding itself is missing or unsound the row's vector is not judged."""
    if row is None:
        return "there is no row for this message"
    wanted = message_vector(record, row.vector)
    if (row.user_id, row.timestamp_ms) != (wanted.user_id, wanted.timestamp_ms):
        return "its customer or its time is not that of the record"
    return "its vector is not its embedding" if vector is not None and not close(row.vector, vector) else None


def user_fault(stores: Stores, records: Sequence[Record], vector: np.ndarray | None, expected: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with the vector of a customer who said these things, or None."""
    vectors = [expected[record.message_id] for record in records if record.message_id in expected]
    if not records or len(vectors) < len(records):
        return None  # a vector that must not be there is told by the count, an embedding that is missing or unsound by `embedded`
    if vector is None:
        return "there is no vector for this customer"
    times = np.array([record.timestamp_ms for record in records], dtype=np.int64)
    wanted = user_vector(np.stack(vectors), times, stores.settings.user_vector_half_life_days)
    return None if close(vector, wanted) else "it is not the mean of what the customer said"


def close(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and float(np.abs(found - wanted).max()) <= TOLERANCE


def extra_messages(stores: Stores, matched: int) -> Iterator[Difference]:
    """Rows that no record stands for; or, where there is none, that there are more rows than ids."""
    store, name, found = stores.vectors_as_found, stores.collections.messages, 0
    for ids in chunks(store.ids(name), BATCH_ROWS):
        entries = stores.documents.get([f"m:{message_id}" for message_id in ids])
        for message_id in ids:
            entry = entries.get(f"m:{message_id}")
            if not (isinstance(entry, Record) and entry.speaks):
                found += 1
                yield Difference(store="milvus", kind="extra", id=f"m:{message_id}", detail="no record of that name says anything")
    if not found:
        yield Difference(store="milvus", kind="count", id=name, detail=f"{store.count(name)} rows, for {matched} messages")


def extra_users(stores: Stores, matched: int) -> Iterator[Difference]:
    """Vectors of customers who said nothing; or, where there is none, that there are more rows than ids."""
    store, name, found = stores.vectors_as_found, stores.collections.users, 0
    for users in chunks(store.ids(name), CUSTOMERS):
        for user_id, records in stores.documents.records_of(users).items():
            if not any(record.speaks for record in records):
                found += 1
                yield Difference(store="milvus", kind="extra", id=user_id, detail="a customer who said nothing has a vector")
    if not found:
        yield Difference(store="milvus", kind="count", id=name, detail=f"{store.count(name)} rows, for {matched} customers")


def extra_campaigns(stores: Stores, matched: int) -> Iterator[Difference]:
    """Vectors of campaigns that there are not; or, where there is none, that there are more rows than ids."""
    store, name = stores.vectors_as_found, stores.collections.campaigns
    extra = sorted(set(store.ids(name)) - {campaign.campaign_id for campaign in stores.documents.campaigns()})
    for campaign_id in extra:
        yield Difference(store="milvus", kind="extra", id=f"c:{campaign_id}", detail="no campaign of that id is in the catalogue")
    if not extra:
        yield Difference(store="milvus", kind="count", id=name, detail=f"{store.count(name)} rows, for {matched} campaigns")
