"""Neo4j against the records: every customer's ties, and what is computed of every campaign, counted anew."""

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from platform_assets.assets.graph import LEDGER, campaigns_in, plan_of
from platform_assets.assets.raw_docs import LEDGER as RECORDS
from platform_assets.resources import Stores
from platform_assets.verification.difference import Difference, ledger_differences
from ranking.engagement import ties_of
from stores.graph import FEWEST_SHARED, SHARED_CAMPAIGNS, TIES, CampaignNode
from stores.records import Campaign, CustomerTies
from stores.sql import chunks

CUSTOMERS = 200
CAMPAIGNS = 50


class Expected(Struct):
    """What the records amount to, as far as it was counted: grows with the campaigns and intents, not with the records."""

    ties: Counter[str]
    named: set[str]
    voiced: set[str]
    attracts: dict[str, Counter[str]]
    shares: dict[str, Counter[str]]

    def count(self, customer: CustomerTies) -> None:
        """Counts one customer's ties towards their campaigns."""
        self.named |= campaigns_in([customer])
        self.voiced |= customer.expressed.keys()
        for field, (relationship, _) in TIES.items():
            self.ties[relationship] += len(getattr(customer, field))
        for campaign_id in customer.engaged_with:
            self.attracts.setdefault(campaign_id, Counter()).update(customer.expressed.keys())
            self.shares.setdefault(campaign_id, Counter()).update(customer.engaged_with.keys() - {campaign_id})

    def node(self, campaign_id: str, campaign: Campaign | None) -> CampaignNode:
        """How a campaign must be stored; `campaign` is None where the records name one that no entry describes."""
        often = ((n, other) for other, n in self.shares.get(campaign_id, Counter()).items() if n >= FEWEST_SHARED)
        shares = sorted(often, key=lambda each: (-each[0], each[1]))[:SHARED_CAMPAIGNS]
        return CampaignNode(
            known=campaign is not None,
            name=campaign.name if campaign else None,
            category=campaign.category if campaign else None,
            attracts=dict(self.attracts.get(campaign_id, {})),
            shares={other: n for n, other in shares},
        )


def neo4j(stores: Stores, counts: Counter[str]) -> Iterator[Difference]:
    """The graph is the one that the records and the catalogue make, tie by tie, and nothing more."""
    yield from ledger_differences(stores, "neo4j", plan_of(stores), stamp=stores.graph.stamp(LEDGER))
    expected = Expected(ties=Counter(), named=set(), voiced=set(), attracts={}, shares={})
    for users in chunks(stores.ledger.owners(RECORDS), CUSTOMERS):
        records = {user_id: said for user_id, said in stores.documents.records_of(users).items() if said}
        stored = stores.graph.ties(records)
        counts["customers"] += len(stored)
        for user_id, said in records.items():
            wanted = ties_of(user_id, said, weights=stores.weights)
            expected.count(wanted)
            if fault := customer_fault(wanted, stored.get(user_id)):
                yield Difference(store="neo4j", kind="differs" if user_id in stored else "missing", id=user_id, detail=fault)
    yield from campaign_differences(stores, expected, counts)
    yield from extras(stores, expected, counts)


def customer_fault(wanted: CustomerTies, stored: CustomerTies | None) -> str | None:
    """What of a customer is not as the records say, or None."""
    if stored is None:
        return "there is no node for this customer"
    wrong = [relationship for field, (relationship, _) in TIES.items() if getattr(wanted, field) != getattr(stored, field)]
    wrong += [field for field in ("profile", "mailed") if getattr(wanted, field) != getattr(stored, field)]
    wrong += [field for field in ("words", "channels") if list(getattr(wanted, field).items()) != list(getattr(stored, field).items())]
    return f"{', '.join(wrong)}: not as the records say" if wrong else None


def campaign_differences(stores: Stores, expected: Expected, counts: Counter[str]) -> Iterator[Difference]:
    """Every campaign that is described or that a record names has its properties, its intents and its companions."""
    catalogue = {campaign.campaign_id: campaign for campaign in stores.documents.campaigns()}
    for ids in chunks(sorted(expected.named | catalogue.keys()), CAMPAIGNS):
        stored = stores.graph.campaigns(ids)
        counts["campaigns"] += len(stored)
        for campaign_id in ids:
            wanted, found = expected.node(campaign_id, catalogue.get(campaign_id)), stored.get(campaign_id)
            expected.ties.update(ATTRACTS=len(wanted.attracts), SHARES_CUSTOMERS=len(wanted.shares))
            if fault := campaign_fault(wanted, found):
                yield Difference(store="neo4j", kind="differs" if found else "missing", id=f"c:{campaign_id}", detail=fault)


def campaign_fault(wanted: CampaignNode, found: CampaignNode | None) -> str | None:
    """What is wrong with a campaign's node, or None."""
    if found is None:
        return "there is no node for this campaign"
    names = {"attracts": "ATTRACTS", "shares": "SHARES_CUSTOMERS"}
    wrong = [names.get(field, field) for field in found.__struct_fields__ if getattr(wanted, field) != getattr(found, field)]
    return f"{', '.join(wrong)}: not as the records and the catalogue say" if wrong else None


def extras(stores: Stores, expected: Expected, counts: Counter[str]) -> Iterator[Difference]:
    """Nodes that nothing stands for, intents that are missing, and ties that are there more than once or between other nodes."""
    found = stores.graph.counts()
    described = {campaign.campaign_id for campaign in stores.documents.campaigns()}
    counts["intents"] = found["Intent"]
    yield from _of_label("Intent", expected.voiced, set(stores.graph.intent_ids()))
    yield from _of_label("Campaign", expected.named | described, set(stores.graph.campaign_ids()))
    if found["User"] != counts["customers"]:
        yield from extra_customers(stores, counts["customers"])
    for relationship, wanted in expected.ties.items():
        counts["ties"] += found[relationship]
        if found[relationship] != wanted:
            detail = f"{found[relationship]} are stored, {wanted} are in the records"
            yield Difference(store="neo4j", kind="count", id=relationship, detail=detail)


def _of_label(label: str, wanted: set[str], found: set[str]) -> Iterator[Difference]:
    for id_ in sorted(found - wanted):
        yield Difference(store="neo4j", kind="extra", id=f"{label} {id_[:60]}", detail="nothing in the records or the catalogue names it")
    if label == "Intent":  # a missing campaign was told already
        for id_ in sorted(wanted - found):
            yield Difference(store="neo4j", kind="missing", id=f"{label} {id_[:60]}", detail="customers voiced it, and it has no node")


def extra_customers(stores: Stores, matched: int) -> Iterator[Difference]:
    """Customers without any record; or, where there is none, that there are more nodes than ids."""
    extra = 0
    for users in chunks(stores.graph.user_ids(), CUSTOMERS):
        for user_id, records in stores.documents.records_of(users).items():
            if not records:
                extra += 1
                yield Difference(store="neo4j", kind="extra", id=user_id, detail="a customer without any record has a node")
    if not extra:
        yield Difference(store="neo4j", kind="count", id="User", detail=f"other nodes than the {matched} customers of the records")
