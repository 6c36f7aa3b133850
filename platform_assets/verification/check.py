"""The comparison as an asset check, which the nightly `verify` job runs."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from platform_assets.automation import VERIFICATION
from platform_assets.resources import RETRY, Stores, surfaced
from platform_assets.verification.comparison import verify
from platform_assets.verification.difference import Difference


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            VERIFICATION.name,
            asset=VERIFICATION.asset_key,
            blocking=False,
            description="The contents of all stores, entry by entry, are what the records amount to. Looks through everything, so it is "
            "run by the nightly job `verify`, or by itself; together with the assets it is left out, and its last result stands.",
        )
    ],
    name=VERIFICATION.name,
    can_subset=True,  # lets it end without a result, which is no claim that it held
    retry_policy=RETRY,
)
def every_store_holds_what_the_records_say(
    context: dg.AssetCheckExecutionContext, stores: dg.ResourceParam[Stores]
) -> Iterator[dg.AssetCheckResult]:
    """Compares all stores, unless this run also materializes assets: a refresh must not take as long as a look at everything."""
    if context.run.asset_selection:
        context.log.info("left out: this run materializes assets, and `verify` looks through everything by itself")
        return
    with surfaced():
        found = verify(stores)
    # without the ids of entries, which may be customers': Dagster keeps what it is told, and `campaigns verify` names them
    shown = Counter(told(each) for each in found.differences)
    yield dg.AssetCheckResult(
        asset_key=VERIFICATION.asset_key,
        check_name=VERIFICATION.name,
        passed=found.consistent,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "differences": len(found.differences),
            "first": "\n".join(f"{number} times {what}" for what, number in shown.items()),
            "looked_at": dg.MetadataValue.json(found.stores),
        },
    )


def told(difference: Difference) -> str:
    """What Dagster may keep of a difference."""
    if difference.kind == "unreadable":
        return f"{difference.store}: what is stored cannot be read"
    named = f" {difference.id}" if difference.store == "release" else ""
    return f"{difference.store}: {difference.kind}{named}: {difference.detail}"
