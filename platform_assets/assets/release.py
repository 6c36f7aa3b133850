"""release: the one pointer that readers trust, published last and only when every blocking check has passed."""

import time

import dagster as dg

from platform_assets.assets.vectors import counts_of
from platform_assets.automation import on_new_data
from platform_assets.rebuilding import NAMES, RELEASES_KEPT
from platform_assets.reconcile import version_of
from platform_assets.resources import RETRY, Stores, surfaced
from stores.errors import ContractBroken
from stores.records import Release
from stores.vectors import STATE

CODE_VERSION = "1"


@dg.asset(
    deps=["vectors", "graph", "metrics", "ranking_model", "ranking_quality"],
    group_name="serving",
    kinds={"mongodb", "redis"},
    owners=["team:data-platform"],
    code_version=CODE_VERSION,
    pool="mongodb",
    retry_policy=RETRY,
    automation_condition=on_new_data(),
)
def release(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult:
    """The generation that answers are tied to: a number that only grows, durable in MongoDB and copied to Redis.

    The same data, code and settings in the same stores give no new release, unless a rebuild was asked for. A store that was
    lost and filled again gives one: answers made while it was empty must not live on. Publishing is the last thing a
    refresh does, so one that fails publishes nothing and answers stay tied to the release before. Posted events that it reflects
    leave the intake. What neither this
    release nor its predecessor needs in Milvus, such as the rest of a rebuild that was cut off, is dropped afterwards.
    """
    with surfaced():
        latest = stores.documents.latest_release()
        digest, stamps = digest_of(stores), stamps_of(stores)
        same = latest is not None and (latest.digest, latest.stamps) == (digest, stamps)
        unchanged = latest is not None and same and (not stores.rebuild.assets or latest.run_id in stores.rebuild.runs)
        current = latest if latest is not None and unchanged else new_release(stores, latest, digest, stamps, run_id=context.run.run_id)
        if not unchanged:
            stores.documents.put_release(current)
        if (sequence := latest_sequence(stores)) != stores.documents.confirmed():
            stores.documents.confirm(sequence)
        stores.cache.publish(current)
        stores.documents.intake.settle(sequence)
        retired = retire(stores)
    context.log.info("release %d %s", current.number, "stands: nothing changed" if unchanged else "is published")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{current.number}-{current.digest}"),
        metadata={
            "number": current.number,
            "outcome": "nothing changed" if unchanged else "a new release",
            "model": current.model,
            "ranking_model": current.ranking_model,
            "retired_collections": len(retired),
            "rows": dg.MetadataValue.json(current.rows),
            "published": dg.MetadataValue.timestamp(current.released_at_ms / 1000),
        },
    )


@dg.asset_check(asset=release, blocking=False)
def the_published_release_is_the_latest(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """Redis names the release that MongoDB holds as the latest."""
    with surfaced():
        latest, published = stores.documents.latest_release(), stores.cache.published()
    return dg.AssetCheckResult(
        passed=latest is not None and published == latest.number,
        metadata={"published": published or 0, "latest": latest.number if latest else 0},
    )


def digest_of(stores: Stores) -> str:
    """A digest over everything an answer depends on: the entries, each store's code and settings, the collections, the ranking model."""
    ledgers = ("raw_docs", stores.embeddings_ledger, stores.collections.ledger, "graph", "metrics")
    versions = [(name, head.version if (head := stores.ledger.head(name)) else "") for name in ledgers]
    fit = stores.documents.models.fit()
    ranking = (fit.model if fit else "", stores.settings.neighbours, stores.tuning)
    return f"{stores.ledger.digest('raw_docs')}-{version_of(CODE_VERSION, versions, ranking)}"


def stamps_of(stores: Stores) -> dict[str, str]:
    """The stamp of each store that readers ask, by ledger: another one means that the store was written, or lost and filled again."""
    return {name: head.stamp for name in (stores.collections.ledger, "graph", "metrics") if (head := stores.ledger.head(name))}


def new_release(stores: Stores, latest: Release | None, digest: str, stamps: dict[str, str], *, run_id: str) -> Release:
    """The release after `latest`, with what the stores hold now.

    Raises:
        ContractBroken: the vectors that it would name are not those of the records, as where `release` is run by itself.
    """
    if stores.ledger.digest(stores.collections.ledger) != stores.ledger.digest("raw_docs"):
        raise ContractBroken(
            "milvus", f"{stores.collections.messages} does not reflect the records: launch the refresh or the rebuild again"
        )
    counts, figures = stores.documents.counts("raw_docs", "campaigns"), stores.metrics.counts()
    fit, judged = stores.documents.models.fit(), stores.documents.models.judgement()
    return Release(
        number=latest.number + 1 if latest else 1,
        digest=digest,
        stamps=stamps,
        message_vectors=stores.collections.messages,
        user_vectors=stores.collections.users,
        campaign_vectors=stores.collections.campaigns,
        ranking_model=fit.model if fit else "",
        quality=judged.quality if judged else {},
        model=stores.settings.embedding_model,
        dimension=stores.embedder.dimension,
        sequence=latest_sequence(stores),
        rows={
            "records": counts["raw_docs"],
            "campaigns": counts["campaigns"],
            **counts_of(stores),
            "graph_customers": stores.graph.nodes()["User"],
            "metrics_events": figures["events"],
        },
        newest_record_ms=stores.metrics.newest_ms(),
        released_at_ms=time.time_ns() // 1_000_000,
        run_id=run_id,
    )


def latest_sequence(stores: Stores) -> int:
    """The sequence number of the file taken last; 0 before any."""
    files = stores.documents.files(1)
    return files[0].sequence if files else 0


def retire(stores: Stores) -> list[str]:
    """Drops the collections that nobody needs any more, with their ledgers, and the ranking models."""
    fit, kept = stores.documents.models.fit(), stores.documents.releases(RELEASES_KEPT)
    stores.documents.models.keep({fit.model if fit else ""}.union(each.ranking_model for each in kept))
    retired = abandoned(stores)
    for name in retired:
        stores.vectors.drop(name)
        stores.vectors.delete(STATE, [name])
        stores.ledger.forget(name)
    return retired


def abandoned(stores: Stores) -> list[str]:
    """The collections, and the ledgers of such, that neither this run nor the current release nor its predecessor names, in order.

    One run writes at a time, so what no release names and this run does not write was left by one that was cut off.
    """
    needed = {name for each in stores.documents.releases(RELEASES_KEPT) for name in each.collections}
    ledgers = {name for name in stores.ledger.stores() if name.startswith(NAMES)}
    return sorted(ledgers.union(stores.vectors_as_found.collections()) - needed - stores.collections.names)
