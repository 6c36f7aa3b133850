"""What ranking learns from and is judged by: the platform's own past, as much of it as memory and time allow.

Nothing here leaves this process but counts: Dagster is told no customer's id and no word of theirs.
"""

import hashlib

from platform_assets.assets.embeddings import text_of
from platform_assets.reconcile import version_of
from platform_assets.resources import Stores
from ranking.known import Conditions
from ranking.refitting import Extent, outgrown
from ranking.walk import Archive
from stores.models import Fit, Judgement
from stores.records import Record
from stores.sql import chunks

RECORDS = "raw_docs"
CUSTOMERS_A_BATCH = 500


def gathered(stores: Stores) -> Archive:
    """The past as it is now: of at most about `ranking_records` records, of whole customers, drawn by a hash of their ids."""
    most, held = stores.settings.ranking_records, stores.metrics.counts()["events"]
    share = min(1.0, most / held) if held else 1.0
    users = (user_id for user_id in stores.ledger.owners(RECORDS) if share == 1.0 or drawn(user_id) < share)
    records: list[Record] = []
    for batch in chunks(users, CUSTOMERS_A_BATCH):
        records += [record for said in stores.documents.records_of(batch).values() for record in said]
    campaigns = {campaign.campaign_id: campaign for campaign in stores.documents.campaigns()}
    texts = {text for entry in (*records, *campaigns.values()) if (text := text_of(entry)) is not None}
    keys = {stores.embedder.key(text): text for text in texts}
    vectors = {keys[key]: vector for key, vector in stores.documents.embeddings(keys).items()}
    return Archive(records=records, campaigns=campaigns, vectors=vectors, conditions=conditions_of(stores), tuning=stores.tuning)


def drawn(text: str) -> float:
    """A number in [0, 1) that is always the same for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


def conditions_of(stores: Stores) -> Conditions:
    """What evidence depends on besides the records."""
    return Conditions(
        weights=stores.weights,
        user_vector_half_life_days=stores.settings.user_vector_half_life_days,
        neighbours=stores.settings.neighbours,
    )


def made_by(stores: Stores, code_version: str) -> str:
    """What a fit or a judgement depends on besides the records: the code and the settings."""
    limits = (stores.settings.ranking_records, stores.settings.ranking_cases)
    return version_of(code_version, conditions_of(stores), stores.tuning, stores.vectors_version, limits)


def reason_to_look_again(stores: Stores, last: Fit | Judgement | None, *, by: str) -> str | None:
    """Why the model must be fitted, or the ranking judged, anew; None while what was found last stands.

    It stands until records or outcomes are more, or fewer, by the share `ranking_refit_share`.
    """
    if last is None:
        return "for the first time"
    if "ranking_model" in stores.rebuild.assets:
        return "a rebuild was asked for"
    if last.made_by != by:
        return "the code or a setting that shapes it is another one"
    return outgrown(Extent(last.records, last.outcomes), extent_of(stores), share=stores.settings.ranking_refit_share)


def extent_of(stores: Stores) -> Extent:
    """How much past there is now."""
    counts = stores.metrics.counts()
    return Extent(records=counts["events"], outcomes=counts["engagement"])
