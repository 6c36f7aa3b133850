"""embeddings: what customers said, and campaigns' own texts → one vector per distinct text, kept in MongoDB by content."""

from collections.abc import Iterator, Sequence

import dagster as dg
import numpy as np

from platform_assets.automation import on_new_data
from platform_assets.plots import vector_map
from platform_assets.reconcile import Reconciliation, reconcile, reflected, version_of
from platform_assets.resources import RETRY, Stores, surfaced
from ranking.words import campaign_text
from stores.ledger import Change, Extent
from stores.records import Campaign, Record
from stores.sql import chunks
from stores.vectors import Vector

CODE_VERSION = "2"
BATCH_ROWS = 2000  # the model library sorts a call's texts by length: small calls would pad short texts to long ones
NORM_TOLERANCE = 1e-3
PREVIEWED = 300


class EmbeddingsMirror:
    """The vectors of one model in MongoDB. Vectors are found by content, so those that nobody needs do no harm."""

    def __init__(self, stores: Stores, *, anew: bool = False) -> None:
        self._stores = stores
        self._anew = anew
        self.embedded = self.reused = self.cut = 0
        self.previewed: list[Vector] = []

    def stamp(self) -> str | None:
        return self._stores.documents.stamp(self._stores.embeddings_ledger)

    def set_stamp(self, value: str) -> None:
        self._stores.documents.set_stamp(self._stores.embeddings_ledger, value)

    def intact(self, extent: Extent) -> bool:
        return extent.held == 0 or self._stores.documents.has_embeddings()

    def present(self) -> Iterator[tuple[str, str]]:
        return iter(())

    def distrusted(self) -> None:
        """Nothing is derived from a vector here."""

    def apply(self, changes: Sequence[Change]) -> set[str]:
        texts = texts_of(self._stores, [change.id for change in changes if change.content_hash is not None])
        keys = {self._stores.embedder.key(text): text for text in texts.values()}
        known = set() if self._anew else self._stores.documents.known_embeddings(keys)
        missing = {key: text for key, text in keys.items() if key not in known}
        made = self._stores.embedder.embed(list(missing.values()))
        self._stores.documents.put_embeddings(self._stores.settings.embedding_model, dict(zip(missing, made.vectors, strict=True)))
        self.previewed.extend(made.vectors[: PREVIEWED - len(self.previewed)])
        self.embedded, self.reused, self.cut = self.embedded + len(missing), self.reused + len(known), self.cut + made.cut
        return set(texts)

    def finish(self) -> None:
        """Nothing is derived from a vector here."""


@dg.asset(
    deps=["raw_docs"],
    group_name="language",
    kinds={"sentence-transformers", "mongodb"},
    owners=["team:data-platform"],
    code_version=CODE_VERSION,
    pool="mongodb",
    retry_policy=RETRY,
    automation_condition=on_new_data(),
)
def embeddings(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult:
    """One vector per distinct text that a customer said or that tells of a campaign, by the model that the settings name.

    A text is embedded once, whoever says it and however often; what agents say is kept in raw_docs but not embedded.
    A rebuild embeds every text again and puts each vector in place of the one before.
    """
    with surfaced():
        plan = plan_of(stores)
        context.log.info("model %s, %d numbers a vector", stores.settings.embedding_model, stores.embedder.dimension)
        anew = "embeddings" in stores.rebuild.assets
        mirror, delta = EmbeddingsMirror(stores, anew=anew), []
        reflection = reconcile(stores.ledger, mirror, plan, delta=delta, anew=anew)
        stores.delta[plan.target] = delta
    return reflected(
        reflection,
        plan,
        model=stores.settings.embedding_model,
        precision=stores.settings.embedding_precision,
        dimension=stores.embedder.dimension,
        texts_embedded=mirror.embedded,
        texts_reused=mirror.reused,
        texts_cut_by_max_tokens=mirror.cut,
        **preview_of(mirror.previewed),
    )


def preview_of(made: Sequence[Vector]) -> dict[str, dg.MetadataValue]:
    """A map of some of the texts that this run embedded, each a dot without a name: those lie together that say alike things."""
    if not made:
        return {}
    return {"map": dg.MetadataValue.md(vector_map(f"{len(made)} of the texts that this run embedded", np.stack(made), marked=0))}


@dg.asset_check(asset=embeddings, blocking=True)
def every_text_has_a_sound_vector(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """Each text has a vector of the right dimension, finite and of length 1: what this run wrote, or all when run alone."""
    with surfaced():
        plan, faults, looked_at = plan_of(stores), [], 0
        for ids in chunks(ids_to_check(stores, plan.target), BATCH_ROWS):
            texts = texts_of(stores, ids)
            vectors = stores.documents.embeddings({stores.embedder.key(text) for text in texts.values()})
            faults += [key for key, text in texts.items() if not sound(vectors.get(stores.embedder.key(text)), stores.embedder.dimension)]
            looked_at += len(texts)
        in_step = stores.ledger.digest(plan.target) == stores.ledger.digest(plan.source)
    return dg.AssetCheckResult(
        passed=not faults and in_step,
        metadata={"looked_at": looked_at, "faulty": len(faults), "in_step": in_step},
    )


def plan_of(stores: Stores) -> Reconciliation:
    return Reconciliation(
        source="raw_docs",
        target=stores.embeddings_ledger,
        version=version_of(CODE_VERSION, stores.embedder.fingerprint),
        batch_rows=BATCH_ROWS,
    )


def texts_of(stores: Stores, ids: Sequence[str]) -> dict[str, str]:
    """What is embedded of these entries, by id: a customer's own words, and a campaign's own text."""
    return {key: text for key, entry in stores.documents.get(ids).items() if (text := text_of(entry)) is not None}


def text_of(entry: Record | Campaign) -> str | None:
    """What is embedded of an entry; None for a record that is not a customer's own words."""
    if isinstance(entry, Campaign):
        return campaign_text(entry)
    return entry.message if entry.speaks else None


def ids_to_check(stores: Stores, ledger: str) -> Sequence[str]:
    """The ids that this run wrote; every id of the ledger where the check runs in a run of its own."""
    if ledger in stores.delta:
        return [change.id for change in stores.delta[ledger] if change.content_hash is not None]
    return stores.ledger.ids(ledger)


def sound(vector: np.ndarray | None, dimension: int) -> bool:
    """Whether a vector is there, has the right dimension, no NaN, and length 1."""
    return vector is not None and vector.shape == (dimension,) and abs(float(np.linalg.norm(vector)) - 1) < NORM_TOLERANCE
