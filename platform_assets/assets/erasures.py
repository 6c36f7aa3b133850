"""erasures: customers who asked to be forgotten → nothing left of them anywhere, and a keyed hash that keeps them out."""

import dagster as dg

from platform_assets import erasing
from platform_assets.automation import on_new_data
from platform_assets.resources import RETRY, Stores, surfaced
from stores.suppression import mark_of

CODE_VERSION = "1"


@dg.asset(
    deps=["release"],
    group_name="serving",
    kinds={"mongodb"},
    owners=["team:data-platform"],
    code_version=CODE_VERSION,
    pool="mongodb",
    retry_policy=RETRY,
    automation_condition=on_new_data(),
)
def erasures(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult:
    """The customers who were forgotten: of each a keyed hash, what was found of them and that nothing is left.

    `raw_docs` removes their records and the stores follow; what no record leads to is removed here, at the end: embeddings
    of texts that nobody says, vectors of former collections, answers. Then every store is looked through.
    """
    with surfaced():
        finished = erasing.finish(stores)
    context.log.info("erasures: %d done, %d waiting", finished.done, finished.waiting)
    return dg.MaterializeResult(
        metadata={
            "done": finished.done,
            "waiting": finished.waiting,
            "texts_forgotten": finished.texts,
            "outcome": f"{finished.done} customers forgotten" if finished.done else "nothing changed",
        }
    )


@dg.asset_check(asset=erasures, blocking=True)
def nobody_who_was_forgotten_has_come_back(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """No customer of the records is one of those who were forgotten, unless they asked during this run."""
    with surfaced():
        found = stores.documents.erasures.suppression(stores.settings.erasure_key)
        asked = {each.mark for each in stores.documents.erasures.pending()}
        gone = found.marks - asked
        back = sum(mark_of(user_id, found.key) in gone for user_id in stores.ledger.owners("raw_docs")) if gone else 0
    return dg.AssetCheckResult(passed=not back, metadata={"forgotten": len(gone), "waiting": len(asked), "came_back": back})
