"""graph: who engaged with what, and which intents go with which campaigns → Neo4j."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from platform_assets.automation import on_new_data
from platform_assets.reconcile import Reconciliation, reconcile, reflected, version_of
from platform_assets.resources import RETRY, Stores, surfaced
from ranking.engagement import ties_of
from stores.graph import CampaignNode
from stores.ledger import Change, Extent, owners_of
from stores.records import Campaign, CustomerTies
from stores.sharing import most_shared
from stores.sql import chunks

CODE_VERSION = "2"
LEDGER = "graph"
PREVIEWED, NAMED_EACH = 20, 3
BATCHES_AT_ONCE = 5  # of `batch_rows`: customers have some twenty records each, and the small local engine takes 250 twice as fast as 50


class GraphMirror:
    """Neo4j's customers, campaigns and intents. A customer's ties are always made from all of their records."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.recounted: list[str] = []
        """The campaigns whose figures `finish` made anew, in order."""

    def stamp(self) -> str | None:
        return self._stores.graph.stamp(LEDGER)

    def set_stamp(self, value: str) -> None:
        self._stores.graph.set_stamp(LEDGER, value)

    def intact(self, extent: Extent) -> bool:
        return extent.owners <= self._stores.graph.nodes()["User"] <= extent.all_owners

    def present(self) -> Iterator[tuple[str, str]]:
        for user_id in self._stores.graph.user_ids():
            yield f"u:{user_id}", user_id
        for campaign_id in self._stores.graph.campaign_ids():
            yield f"c:{campaign_id}", ""

    def distrusted(self) -> None:
        self._stores.ledger.touch(LEDGER, self._stores.graph.campaign_ids())

    def apply(self, changes: Sequence[Change]) -> set[str]:
        stores, owners = self._stores, owners_of(changes)
        records = stores.documents.records_of(owners)
        everyone = [ties_of(user_id, found, weights=stores.weights) for user_id, found in records.items()]
        entries = stores.documents.get([change.id for change in changes if change.id.startswith("c:")])
        catalogue = [entry for entry in entries.values() if isinstance(entry, Campaign)]
        gone = [change.id[2:] for change in changes if change.id.startswith("c:") and change.id not in entries]
        # what a campaign attracts depends on all its customers: remembered before anything is written, computed in `finish`
        stores.ledger.touch(LEDGER, stores.graph.campaigns_affected(everyone))
        stores.graph.put_campaigns(catalogue)
        restated = stores.graph.put_customers([ties for ties in everyone if records[ties.user_id]])
        stores.graph.delete_customers([user_id for user_id, found in records.items() if not found])
        stores.graph.delete_campaigns(gone)
        for user_id in restated:
            stores.cache.bump_user(user_id)  # consent that was withdrawn does not wait for the release
        return {change.id for change in changes if change.content_hash is not None}

    def finish(self) -> None:
        self.recounted = self._stores.ledger.touched(LEDGER)
        self._stores.graph.refresh_attraction(self.recounted)
        self._stores.graph.sweep()


@dg.asset(
    deps=["raw_docs"],
    group_name="serving",
    kinds={"neo4j"},
    owners=["team:data-platform"],
    code_version=CODE_VERSION,
    pool="neo4j",
    retry_policy=RETRY,
    automation_condition=on_new_data(),
)
def graph(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult:
    """Customers, campaigns and intents with the ties between them.

    A customer ENGAGED_WITH, was SHOWN, DISMISSED or CONVERTED on a campaign and EXPRESSED an intent, and keeps the words that
    they said most and the channels that they engaged by. A campaign ATTRACTS an intent as strongly as the number of its
    customers who expressed it. A rebuild compares every customer and campaign with what is stored and mends it in place, so
    that nothing is missing meanwhile.
    """
    with surfaced():
        plan, delta, anew = plan_of(stores), [], "graph" in stores.rebuild.assets
        mirror = GraphMirror(stores)
        reflection = reconcile(stores.ledger, mirror, plan, delta=delta, anew=anew)
        stores.delta[LEDGER] = delta
        nodes, recounted = stores.graph.nodes(), stores.graph.campaigns(mirror.recounted[:PREVIEWED])
    context.log.info("graph: %s", nodes)
    return reflected(
        reflection, plan, customers=nodes["User"], campaigns=nodes["Campaign"], intents=nodes["Intent"], **preview_of(recounted)
    )


def preview_of(recounted: Mapping[str, CampaignNode]) -> dict[str, dg.MetadataValue]:
    """A table of some of the campaigns that this run counted anew: what goes with them, and in how many customers."""
    if not recounted:
        return {}
    rows = [
        dg.TableRecord(
            {
                "campaign": node.name or campaign_id,
                "attracts customers who expressed": most_of(node.attracts),
                "shares customers with": most_of(node.shares),
            }
        )
        for campaign_id, node in recounted.items()
    ]
    return {"counted_anew": dg.MetadataValue.table(rows)}


def most_of(customers: Mapping[str, int]) -> str:
    """What goes with the most customers: "purchase 7, interest 4"."""
    return ", ".join(f"{name} {number}" for name, number in most_shared(customers, NAMED_EACH).items())


@dg.asset_check(asset=graph, blocking=True)
def nothing_in_the_graph_dangles_or_is_doubled(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """Each id is one node, each tie joins two named nodes: of the customers this run touched, or of all when run alone. And there
    is one customer node per customer with a record.
    """
    with surfaced():
        written = owners_of(stores.delta[LEDGER]) if LEDGER in stores.delta else None
        problems, extent = stores.graph.problems(written), stores.ledger.extent(LEDGER)
        customers = stores.graph.nodes()["User"]
        in_step = stores.ledger.digest(LEDGER) == stores.ledger.digest("raw_docs")
    return dg.AssetCheckResult(
        passed=not problems and customers == extent.owners and in_step,
        metadata={
            "problems": len(problems),
            "customers": customers,
            "in_records": extent.owners,
            "in_step": in_step,
        },
    )


@dg.asset_check(asset=graph, blocking=True)
def every_record_that_names_a_campaign_has_its_tie(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """Customers' ties in Neo4j equal those of their records: of the customers this run touched, or of all when run alone."""
    with surfaced():
        faults, looked_at = [], 0
        for users in chunks(customers_to_check(stores), stores.settings.batch_rows):
            records = stores.documents.records_of(users)
            stored = stores.graph.ties(users)
            for user_id, found in records.items():
                expected = ties_of(user_id, found, weights=stores.weights)
                if stored.get(user_id) != (expected if found else None):
                    faults.append(user_id)
            looked_at += len(users)
    return dg.AssetCheckResult(passed=not faults, metadata={"customers_looked_at": looked_at, "differing": len(faults)})


def plan_of(stores: Stores) -> Reconciliation:
    return Reconciliation(
        source="raw_docs",
        target=LEDGER,
        version=version_of(CODE_VERSION, stores.weights),
        batch_rows=BATCHES_AT_ONCE * stores.settings.batch_rows,
    )


def campaigns_in(ties: Sequence[CustomerTies]) -> set[str]:
    """Every campaign that these customers are tied to."""
    return {
        campaign_id for each in ties for kind in (each.engaged_with, each.shown, each.dismissed, each.converted) for campaign_id in kind
    }


def customers_to_check(stores: Stores) -> list[str]:
    """The customers whose ties this run wrote; all of them where the check runs in a run of its own."""
    return owners_of(stores.delta[LEDGER]) if LEDGER in stores.delta else list(stores.ledger.owners(LEDGER))
