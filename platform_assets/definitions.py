"""Everything that Dagster loads: the assets and their checks, the refresh job, its sensor and schedule, the resource."""

import dagster as dg

from platform_assets import automation
from platform_assets.assets import embeddings, graph, metrics, raw_docs, release, vectors
from platform_assets.resources import stores_at

MODULES = [raw_docs, embeddings, vectors, graph, metrics, release]


def definitions_on(stores: dg.ResourceDefinition) -> dg.Definitions:
    """The definitions, working on these stores."""
    return dg.Definitions(
        assets=dg.load_assets_from_modules(MODULES),
        asset_checks=dg.load_asset_checks_from_modules(MODULES),
        jobs=[automation.refresh],
        schedules=[automation.nightly],
        sensors=[automation.inbox, automation.catch_up],
        resources={"stores": stores},
        executor=dg.in_process_executor,  # steps are few and short; a process per step would cost seconds and load the model anew
    )


defs = definitions_on(stores_at())
