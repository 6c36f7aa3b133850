"""Everything that Dagster loads: the assets and their checks, the jobs, their sensors and schedules, the resource."""

import dagster as dg

from platform_assets import automation, requests
from platform_assets.assets import embeddings, erasures, graph, metrics, ranking_model, ranking_quality, raw_docs, release, vectors
from platform_assets.resources import stores_at
from platform_assets.verification import check

MODULES = [raw_docs, embeddings, vectors, graph, metrics, ranking_model, ranking_quality, release, erasures]


def definitions_on(stores: dg.ResourceDefinition) -> dg.Definitions:
    """The definitions, working on these stores."""
    return dg.Definitions(
        assets=dg.load_assets_from_modules(MODULES),
        asset_checks=dg.load_asset_checks_from_modules([*MODULES, check]),
        jobs=[automation.refresh, automation.rebuild, automation.verify, automation.forget],
        schedules=[automation.nightly, automation.nightly_verification],
        sensors=[automation.inbox, automation.catch_up, requests.intake, requests.erasure_requests],
        resources={"stores": stores},
        executor=dg.in_process_executor,  # steps are few and short; a process per step would cost seconds and load the model anew
    )


defs = definitions_on(stores_at())
