"""What ranking learns from and is judged by: the platform's own past, as much of it as memory and time allow.

Nothing here leaves this process but counts: Dagster is told no customer's id and no word of theirs.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from platform_assets.assets.embeddings import text_of
from platform_assets.reconcile import version_of
from platform_assets.resources import Stores
from ranking.cases import Case, cases_of
from ranking.past import Conditions
from stores.models import Fit, Judgement
from stores.records import Campaign, Record
from stores.sql import chunks

RECORDS = "raw_docs"
CUSTOMERS_A_BATCH = 500


class Material(Struct, frozen=True, kw_only=True):
    """The past of some customers: their records, all campaigns, the vectors of every text in them, and the cases to look at.

    `share` of all customers are in it, drawn by a hash of their ids: the same ones as long as the share is the same.
    """

    records: Sequence[Record]
    campaigns: Sequence[Campaign]
    vectors: Mapping[str, NDArray[np.float32]]
    cases: Sequence[Case]
    share: float


def gathered(stores: Stores) -> Material:
    """The material of now: at most about `ranking_records` records, whole customers each, and `ranking_cases` cases."""
    most, held = stores.settings.ranking_records, stores.metrics.counts()["events"]
    share = min(1.0, most / held) if held else 1.0
    users = (user_id for user_id in stores.ledger.owners(RECORDS) if share == 1.0 or drawn(user_id) < share)
    records: list[Record] = []
    for batch in chunks(users, CUSTOMERS_A_BATCH):
        records += [record for said in stores.documents.records_of(batch).values() for record in said]
    campaigns = stores.documents.campaigns()
    texts = {text for entry in (*records, *campaigns) if (text := text_of(entry)) is not None}
    keys = {stores.embedder.key(text): text for text in texts}
    vectors = {keys[key]: vector for key, vector in stores.documents.embeddings(keys).items()}
    cases = cases_of(records, {campaign.campaign_id: campaign for campaign in campaigns})
    return Material(records=records, campaigns=campaigns, vectors=vectors, cases=some_of(cases, stores.settings.ranking_cases), share=share)


def drawn(text: str) -> float:
    """A number in [0, 1) that is always the same for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


def some_of(cases: Sequence[Case], most: int) -> list[Case]:
    """At most so many of the cases, drawn by a hash of their names, so that new ones change little; in their order."""
    kept = {case.case_id for case in sorted(cases, key=lambda case: drawn(case.case_id))[:most]}
    return [case for case in cases if case.case_id in kept]


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
        return "there is none yet"
    if "ranking_model" in stores.rebuild.assets:
        return "a rebuild was asked for"
    if last.made_by != by:
        return "the code or a setting that shapes it is another one"
    records, outcomes = extent_of(stores)
    for what, before, now in (("records", last.records, records), ("outcomes", last.outcomes, outcomes)):
        if abs(now - before) > stores.settings.ranking_refit_share * before:
            return f"{now} {what} now, {before} then"
    return None


def extent_of(stores: Stores) -> tuple[int, int]:
    """How many records there are, and with how many campaigns how many customers engaged, counted as pairs."""
    counts = stores.metrics.counts()
    return counts["events"], counts["engagement"]
