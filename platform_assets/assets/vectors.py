"""vectors: the embeddings → Milvus, one vector per message, one per customer and one per campaign."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import dagster as dg
import numpy as np

from platform_assets.assets.embeddings import ids_to_check, text_of, texts_of
from platform_assets.automation import on_new_data
from platform_assets.plots import vector_map
from platform_assets.reconcile import Reconciliation, reconcile, reflected
from platform_assets.resources import RETRY, VECTORS_CODE_VERSION, Stores, surfaced
from ranking.engagement import user_vector
from stores.errors import ContractBroken
from stores.ledger import Change, Extent, owners_of
from stores.records import Campaign, Record
from stores.sql import chunks
from stores.vectors import MessageVector

TOLERANCE = 1e-5
PREVIEWED = 300


class VectorsMirror:
    """The vectors of one model in Milvus. A customer's vector is always made from all they said, a campaign's from its own text."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._names = stores.collections

    def stamp(self) -> str | None:
        return self._stores.vectors.stamp(self._names.ledger)

    def set_stamp(self, value: str) -> None:
        self._stores.vectors.set_stamp(self._names.ledger, value)

    def intact(self, extent: Extent) -> bool:
        counts = counts_of(self._stores)
        entries = counts["message_vectors"] + counts["campaign_vectors"]
        owners = extent.owners <= counts["user_vectors"] <= extent.all_owners
        return owners and extent.held <= entries <= extent.held + extent.unsettled

    def present(self) -> Iterator[tuple[str, str]]:
        for message_id in self._stores.vectors.ids(self._names.messages):
            yield f"m:{message_id}", ""
        for campaign_id in self._stores.vectors.ids(self._names.campaigns):
            yield f"c:{campaign_id}", ""
        for user_id in self._stores.vectors.ids(self._names.users):
            yield f"u:{user_id}", user_id

    def distrusted(self) -> None:
        """A customer's vector is written with what they said."""

    def apply(self, changes: Sequence[Change]) -> set[str]:
        stores, owners = self._stores, owners_of(changes)
        said = {user_id: [r for r in records if r.speaks] for user_id, records in stores.documents.records_of(owners).items()}
        changed = {change.id for change in changes if change.content_hash is not None}
        speaking = {record.key: record for records in said.values() for record in records}
        campaigns = self._campaigns(changed)
        vectors = self._vectors_of([*speaking.values(), *campaigns])
        upserts = [speaking[key] for key in sorted(changed & speaking.keys())]
        stores.vectors.upsert_messages(self._names.messages, [message_vector(record, vectors[record.key]) for record in upserts])
        stores.vectors.upsert_users(
            self._names.users, {user_id: self._user_vector(records, vectors) for user_id, records in said.items() if records}
        )
        stores.vectors.upsert_campaigns(self._names.campaigns, {each.campaign_id: vectors[each.key] for each in campaigns})
        stores.vectors.delete(self._names.users, [user_id for user_id, records in said.items() if not records])
        stores.vectors.delete(
            self._names.messages, [change.id[2:] for change in changes if change.id[:2] == "m:" and change.id not in speaking]
        )
        held = (changed & speaking.keys()) | {each.key for each in campaigns}
        stores.vectors.delete(
            self._names.campaigns, [change.id[2:] for change in changes if change.id[:2] == "c:" and change.id not in held]
        )
        return held

    def finish(self) -> None:
        for name in sorted(self._names.names):
            self._stores.vectors.settle(name)

    def _campaigns(self, ids: Iterable[str]) -> list[Campaign]:
        found = self._stores.documents.get([id_ for id_ in ids if id_.startswith("c:")])
        return [entry for entry in found.values() if isinstance(entry, Campaign)]

    def _vectors_of(self, entries: Iterable[Record | Campaign]) -> dict[str, np.ndarray]:
        """The vector of each entry's text, by the entry's key."""
        keys = {entry.key: self._stores.embedder.key(text_of(entry) or "") for entry in entries}
        found = self._stores.documents.embeddings(set(keys.values()))
        if missing := sum(key not in found for key in keys.values()):
            raise ContractBroken("mongodb", f"{missing} texts have no embedding yet: materialize embeddings before vectors")
        return {entry_key: found[key] for entry_key, key in keys.items()}

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
    """Every customer message as a vector, every customer as the recency-weighted mean of what they said, every campaign by its text.

    Each model, and each rebuild, has collections of its own; readers move to new ones when their release is published.
    """
    with surfaced():
        plan, delta = plan_of(stores), []
        reflection = reconcile(stores.ledger, VectorsMirror(stores), plan, delta=delta)
        stores.delta[plan.target] = delta
        preview = preview_of(stores) if delta else {}
    context.log.info("vectors: %d of %d entries", reflection.held, reflection.entries)
    return reflected(
        reflection,
        plan,
        **preview,
        dimension=stores.embedder.dimension,
        index=stores.settings.vector_index,
        message_collection=stores.collections.messages,
        user_collection=stores.collections.users,
        campaign_collection=stores.collections.campaigns,
    )


def preview_of(stores: Stores) -> dict[str, dg.MetadataValue]:
    """A map of some customers and campaigns, each a dot without a name: those lie together who talk alike."""
    names = stores.collections
    users, campaigns = (
        list(stores.vectors.get(name, islice(stores.vectors.ids(name), PREVIEWED)).values()) for name in (names.users, names.campaigns)
    )
    if not (users or campaigns):
        return {}
    drawn = vector_map(f"{len(users)} customers (small) and {len(campaigns)} campaigns", np.stack(users + campaigns), marked=len(campaigns))
    return {"map": dg.MetadataValue.md(drawn)}


@dg.asset_check(asset=vectors, blocking=True)
def milvus_holds_one_vector_per_text(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """As many vectors as embedded messages and campaigns, one per customer who spoke, and the ledger in step with its source."""
    with surfaced():
        extent, counts = stores.ledger.extent(plan_of(stores).target), counts_of(stores)
        in_step = stores.ledger.digest(plan_of(stores).target) == stores.ledger.digest(plan_of(stores).source)
    return dg.AssetCheckResult(
        passed=counts["message_vectors"] + counts["campaign_vectors"] == extent.held
        and counts["user_vectors"] == extent.owners
        and extent.unsettled == 0
        and in_step,
        metadata={
            **counts,
            "embedded": extent.held,
            "customers": extent.owners,
            "in_step": in_step,
        },
    )


@dg.asset_check(asset=vectors, blocking=True)
def vectors_in_milvus_equal_the_embeddings(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """Each message's and each campaign's vector in Milvus is its embedding, to 1e-5: what this run wrote, or all when run alone."""
    with surfaced():
        faults, looked_at = [], 0
        for ids in chunks(ids_to_check(stores, plan_of(stores).target), stores.settings.batch_rows):
            texts = texts_of(stores, ids)
            expected = stores.documents.embeddings({stores.embedder.key(text) for text in texts.values()})
            found = stored_of(stores, texts)
            for key, text in texts.items():
                vector, embedding = found.get(key), expected.get(stores.embedder.key(text))
                if vector is None or embedding is None or float(np.abs(vector - embedding).max()) > TOLERANCE:
                    faults.append(key)
            looked_at += len(texts)
    return dg.AssetCheckResult(passed=not faults, metadata={"looked_at": looked_at, "differing": len(faults)})


def counts_of(stores: Stores) -> dict[str, int]:
    """How many rows each collection of this run holds."""
    names = stores.collections
    kinds = {"message_vectors": names.messages, "user_vectors": names.users, "campaign_vectors": names.campaigns}
    return {kind: stores.vectors.count(name) for kind, name in kinds.items()}


def stored_of(stores: Stores, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """The vectors that Milvus holds under the keys of these messages and campaigns."""
    collections = {"m:": stores.collections.messages, "c:": stores.collections.campaigns}
    found: dict[str, np.ndarray] = {}
    for kind, name in collections.items():
        rows = stores.vectors.get(name, [key[2:] for key in keys if key.startswith(kind)])
        found |= {kind + id_: vector for id_, vector in rows.items()}
    return found


def message_vector(record: Record, vector: np.ndarray) -> MessageVector:
    return MessageVector(message_id=record.message_id, user_id=record.user_id, timestamp_ms=record.timestamp_ms, vector=vector)


def plan_of(stores: Stores) -> Reconciliation:
    return Reconciliation(
        source=stores.embeddings_ledger,
        target=stores.collections.ledger,
        version=stores.vectors_version,
        batch_rows=stores.settings.batch_rows,
    )
