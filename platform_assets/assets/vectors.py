"""vectors: the embeddings → Milvus, one vector per message and one per customer."""

from collections.abc import Iterator, Sequence

import dagster as dg
import numpy as np

from platform_assets.assets.embeddings import ids_to_check, spoken
from platform_assets.automation import on_new_data
from platform_assets.reconcile import Reconciliation, reconcile, reflected
from platform_assets.resources import RETRY, VECTORS_CODE_VERSION, Stores, surfaced
from ranking.engagement import user_vector
from stores.errors import ContractBroken
from stores.ledger import Change, Extent, owners_of
from stores.records import Record
from stores.sql import chunks
from stores.vectors import MessageVector

TOLERANCE = 1e-5


class VectorsMirror:
    """The message vectors and user vectors of one model in Milvus. A customer's vector is always made from all they said."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._names = stores.collections

    def stamp(self) -> str | None:
        return self._stores.vectors.stamp(self._names.ledger)

    def set_stamp(self, value: str) -> None:
        self._stores.vectors.set_stamp(self._names.ledger, value)

    def intact(self, extent: Extent) -> bool:
        messages, users = (self._stores.vectors.count(name) for name in (self._names.messages, self._names.users))
        return extent.held <= messages <= extent.held + extent.unsettled and extent.owners <= users <= extent.all_owners

    def present(self) -> Iterator[tuple[str, str]]:
        for message_id in self._stores.vectors.ids(self._names.messages):
            yield f"m:{message_id}", ""
        for user_id in self._stores.vectors.ids(self._names.users):
            yield f"u:{user_id}", user_id

    def apply(self, changes: Sequence[Change]) -> set[str]:
        stores, owners = self._stores, owners_of(changes)
        said = {user_id: [r for r in records if r.speaks] for user_id, records in stores.documents.records_of(owners).items()}
        changed = {change.id for change in changes if change.content_hash is not None}
        speaking = {record.key: record for records in said.values() for record in records}
        vectors = self._vectors_of(speaking.values())
        upserts = [speaking[key] for key in sorted(changed & speaking.keys())]
        stores.vectors.upsert_messages(self._names.messages, [message_vector(record, vectors[record.key]) for record in upserts])
        stores.vectors.upsert_users(
            self._names.users, {user_id: self._user_vector(records, vectors) for user_id, records in said.items() if records}
        )
        stores.vectors.delete(self._names.users, [user_id for user_id, records in said.items() if not records])
        stores.vectors.delete(
            self._names.messages, [change.id[2:] for change in changes if change.id[:2] == "m:" and change.id not in speaking]
        )
        return changed & speaking.keys()

    def finish(self) -> None:
        self._stores.vectors.settle(self._names.messages)
        self._stores.vectors.settle(self._names.users)

    def _vectors_of(self, records) -> dict[str, np.ndarray]:
        """The vector of each record, by its key."""
        keys = {record.key: self._stores.embedder.key(record.message or "") for record in records}
        found = self._stores.documents.embeddings(set(keys.values()))
        if missing := sum(key not in found for key in keys.values()):
            raise ContractBroken("mongodb", f"{missing} messages have no embedding yet: materialize embeddings before vectors")
        return {record_key: found[key] for record_key, key in keys.items()}

    def _user_vector(self, records: Sequence[Record], vectors: dict[str, np.ndarray]) -> np.ndarray:
        return user_vector(
            np.stack([vectors[record.key] for record in records]),
            np.array([record.timestamp_ms for record in records], dtype=np.int64),
            self._stores.settings.user_vector_half_life_days,
        )


@dg.asset(
    deps=["embeddings"],
    group_name="serving",
    kinds={"milvus"},
    owners=["team:data-platform"],
    code_version=VECTORS_CODE_VERSION,
    pool="milvus",
    retry_policy=RETRY,
    automation_condition=on_new_data(),
)
def vectors(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult:
    """Every customer message as a vector, and every customer as the recency-weighted mean of what they said.

    Each model, and each rebuild, has collections of its own; readers move to new ones when their release is published.
    """
    with surfaced():
        plan, delta = plan_of(stores), []
        reflection = reconcile(stores.ledger, VectorsMirror(stores), plan, delta=delta)
        stores.delta[plan.target] = delta
        users = stores.vectors.count(stores.collections.users)
    context.log.info("%d message vectors, %d customers", reflection.held, users)
    return reflected(
        reflection,
        plan,
        user_vectors=users,
        dimension=stores.embedder.dimension,
        index=stores.settings.vector_index,
        message_collection=stores.collections.messages,
        user_collection=stores.collections.users,
    )


@dg.asset_check(asset=vectors, blocking=True)
def milvus_holds_one_vector_per_embedded_message(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """As many message vectors as embedded messages, one vector per customer who spoke, and the ledger in step with its source."""
    with surfaced():
        extent, names = stores.ledger.extent(plan_of(stores).target), stores.collections
        messages, users = stores.vectors.count(names.messages), stores.vectors.count(names.users)
        in_step = stores.ledger.digest(plan_of(stores).target) == stores.ledger.digest(plan_of(stores).source)
    return dg.AssetCheckResult(
        passed=messages == extent.held and users == extent.owners and extent.unsettled == 0 and in_step,
        metadata={
            "message_vectors": messages,
            "embedded_messages": extent.held,
            "user_vectors": users,
            "customers": extent.owners,
            "in_step": in_step,
        },
    )


@dg.asset_check(asset=vectors, blocking=True)
def vectors_in_milvus_equal_the_embeddings(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """Each message's vector in Milvus is its embedding, to 1e-5: what this run wrote, or all when run alone."""
    with surfaced():
        faults, looked_at = [], 0
        for ids in chunks(ids_to_check(stores, plan_of(stores).target), stores.settings.batch_rows):
            texts = spoken(stores, ids)
            expected = stores.documents.embeddings({stores.embedder.key(text) for text in texts.values()})
            found = stores.vectors.get(stores.collections.messages, [key[2:] for key in texts])
            for key, text in texts.items():
                vector, embedding = found.get(key[2:]), expected.get(stores.embedder.key(text))
                if vector is None or embedding is None or float(np.abs(vector - embedding).max()) > TOLERANCE:
                    faults.append(key)
            looked_at += len(texts)
    return dg.AssetCheckResult(passed=not faults, metadata={"looked_at": looked_at, "differing": len(faults)})


def message_vector(record: Record, vector: np.ndarray) -> MessageVector:
    return MessageVector(message_id=record.message_id, user_id=record.user_id, timestamp_ms=record.timestamp_ms, vector=vector)


def plan_of(stores: Stores) -> Reconciliation:
    return Reconciliation(
        source=stores.embeddings_ledger,
        target=stores.collections.ledger,
        version=stores.vectors_version,
        batch_rows=stores.settings.batch_rows,
    )
