"""Walks through cases in order of time, with the evidence as of each: what fitting and judging both look at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from zlib import crc32

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from ranking.cases import Case
from ranking.eligibility import allowed, standing
from ranking.fusion import Ranked
from ranking.known import Conditions
from ranking.model import RRF, RankingModel
from ranking.past import Past
from ranking.recommend import Customer, Lineup, Tuning, leaders, lineup, rankings
from ranking.refitting import Extent
from stores.records import Campaign, Record

DEPTH = 500
"""So many of the campaigns that engagement alone speaks for are ranked; those behind them stand in no order that matters."""


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
    """One case with all that was known then. `candidates` may be offered to the customer, or were given with the case, whether the
    rules allow them or not; `truth` is among them. `offered` are those that the rules allow.

    `rankings` are the sources', of the first 500 at least; `engagements` counts those known of the customer; `extent` is how much
    past there was. `lot` is all candidates in an order that says nothing and is the same every time. The lineup's model is none yet:
    it keeps what was usual and which words led where at that very moment, to fit one on.
    """

    case: Case
    customer: Customer
    lineup: Lineup
    candidates: frozenset[str]
    offered: Mapping[str, Campaign]
    truth: frozenset[str]
    rankings: Mapping[str, Sequence[Ranked]]
    engagements: int
    extent: Extent
    lot: tuple[str, ...]


def scenes(archive: Archive, cases: Iterable[Case]) -> Iterator[Scene]:
    """Each case's scene, in order of time. A case whose truth is no candidate, or with a single candidate, is passed over.

    Where a campaign's group was ever mailed, only customers who got the mailing are candidates for it, unless the case
    itself names its candidates.
    """
    past = Past(archive.records, archive.campaigns.values(), archive.vectors, conditions=archive.conditions)
    now: Lineup | None = None
    for case in sorted(cases, key=lambda case: (case.at_ms, case.user_id, case.case_id)):
        past.advance(case.at_ms)
        if now is None or now.now_ms != case.at_ms:
            model = replace(RRF, usual=past.usual(), leads=past.leads())
            now = lineup(past.catalogue(), now_ms=case.at_ms, tuning=archive.tuning, model=model, before=now)
        scene = scene_of(case, past, now, archive.tuning)
        if scene.truth and len(scene.candidates) > 1:
            yield scene


def scene_of(case: Case, past: Past, now: Lineup, tuning: Tuning) -> Scene:
    """The case at the moment that the past has been walked to."""
    if case.candidates is None:
        among = reachable(case, now, past)
    else:
        among = case.candidates & past.campaigns.keys()
        if beyond := among - now.offered.keys():
            now = lineup(past.catalogue(), now_ms=case.at_ms, tuning=tuning, model=now.model, also=beyond)
    customer = past.customer(case.user_id, since=case.since)
    who = standing(customer.surroundings, now_ms=case.at_ms, policy=tuning.policy)
    offered = {key: campaign for key, campaign in allowed(now.offered, now.restricted, who).items() if key in among}
    candidates = frozenset(offered) if case.candidates is None else among
    return Scene(
        case=case,
        customer=customer,
        lineup=now,
        candidates=candidates,
        offered=offered,
        truth=case.truth & candidates,
        rankings=rankings(customer, now, offered, limit=DEPTH, now_ms=case.at_ms),
        engagements=past.engagements(case.user_id),
        extent=past.extent(),
        lot=tuple(sorted(candidates, key=lambda key: (drawn(case, key), key))),
    )


def as_served(scene: Scene, model: RankingModel) -> Scene:
    """The scene as the platform ranks it under this model: what the model keeps of the past is as old as the model."""
    now = replace(scene.lineup, model=model, leaders=leaders(scene.lineup.popular, model))
    return replace(scene, lineup=now, rankings=rankings(scene.customer, now, scene.offered, limit=DEPTH, now_ms=scene.case.at_ms))


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
