"""Walks through cases in order of time, with the evidence as of each: what fitting and judging both look at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from zlib import crc32

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ranking.cases import Case
from ranking.fusion import Ranked
from ranking.past import Conditions, Past
from ranking.recommend import Customer, Lineup, Tuning, lineup, rankings
from stores.records import Campaign, Record


class Archive(Struct, frozen=True, kw_only=True):
    """All records and campaigns there are, in any order, and how they are to be looked at.

    `vectors` gives the vector of a text (a message, or `campaign_text` of a campaign), float32, of length 1; a text that is
    not in it is treated as never embedded.
    """

    records: Sequence[Record]
    campaigns: dict[str, Campaign]
    vectors: Mapping[str, NDArray[np.float32]]
    conditions: Conditions = Conditions()
    tuning: Tuning = Tuning()


class Scene(Struct, frozen=True, kw_only=True):
    """One case with all that was known then. `candidates` may be offered to the customer; `truth` is among them.

    `rankings` are the sources', of all candidates; `engagements` counts those known of the customer. `lot` is all candidates in
    an order that says nothing and is the same every time.
    """

    case: Case
    customer: Customer
    lineup: Lineup
    candidates: frozenset[str]
    truth: frozenset[str]
    rankings: Mapping[str, Sequence[Ranked]]
    engagements: int
    lot: tuple[str, ...]


def scenes(archive: Archive, cases: Iterable[Case]) -> Iterator[Scene]:
    """Each case's scene, in order of time. A case whose truth the rules do not allow, or with a single candidate, is passed over.

    Where a campaign's group was ever mailed, only customers who got the mailing are candidates for it, unless the case
    itself names its candidates.
    """
    past, now = Past(archive.records, archive.campaigns.values(), archive.vectors, conditions=archive.conditions), None
    for case in sorted(cases, key=lambda case: (case.at_ms, case.user_id, case.case_id)):
        past.advance(case.at_ms)
        if now is None or now[0] != case.at_ms:
            now = case.at_ms, lineup(past.catalogue(), now_ms=case.at_ms, tuning=archive.tuning, before=now[1] if now else None)
        customer = past.customer(case.user_id, since=case.since)
        among = case.candidates if case.candidates is not None else reachable(case, now[1], past)
        found = rankings(customer, now[1], limit=len(now[1].offered), among=among)
        candidates = frozenset(each.candidate.campaign_id for some in found.values() for each in some)
        if (truth := case.truth & candidates) and len(candidates) > 1:
            yield Scene(
                case=case,
                customer=customer,
                lineup=now[1],
                candidates=candidates,
                truth=truth,
                rankings=found,
                engagements=past.engagements(case.user_id),
                lot=tuple(sorted(candidates, key=lambda key: (drawn(case, key), key))),
            )


def drawn(case: Case, campaign_id: str) -> int:
    """A number that is as good as random, and the same every time."""
    return crc32(f"{case.case_id} {campaign_id}".encode())


def reachable(case: Case, lineup: Lineup, past: Past) -> frozenset[str]:
    """What runs and is not barred, less the groups that were mailed to others but not to this customer."""
    shut = {
        group
        for group in {campaign.group for campaign in lineup.offered.values() if campaign.group}
        if (mailed := past.mailed(group)) and case.user_id not in mailed
    }
    return frozenset(key for key, campaign in lineup.offered.items() if campaign.group not in shut and key not in case.barred)
