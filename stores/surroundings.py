"""What surrounds each of many customers, put together from parts of the graph that they share.

The ties of a neighbour, the companions of a campaign and the campaigns of an intent are the same whoever asks. Fetched once
for all and laid together here they are what `cypher.AROUND` finds for each customer by itself, at a fraction of its cost.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from stores.evidence import CoEngagement, IntentTie, NeighbourTie, OwnTie, Surroundings, WordTie
from stores.records import CustomerTies
from stores.sharing import place

Counted = Sequence[tuple[str, int]]
"""Campaigns, each with a number of customers."""


class SharedParts(Struct, frozen=True, kw_only=True):
    """Parts of the graph: each neighbour's strongest ties, each campaign's companions, each intent's campaigns, as `most_first`."""

    neighbours: Mapping[str, Sequence[NeighbourTie]]
    companions: Mapping[str, Counted]
    attracted: Mapping[str, Counted]


def surroundings(
    ties: CustomerTies, own: tuple[OwnTie, ...], neighbour_ids: Iterable[str], parts: SharedParts, *, limit: int
) -> Surroundings:
    """Everything around one customer who is known. What they did themselves counts nowhere but in `own`."""
    engaged = ties.engaged_with
    return Surroundings(
        known=True,
        own=own,
        profile=ties.profile,
        mailed=ties.mailed,
        expressed={intent: tally.count for intent, tally in sorted(ties.expressed.items())},
        words=tuple(WordTie(word, tally.count, tally.last_at_ms) for word, tally in ties.words.items()),
        channels=ties.channels,
        neighbours=neighbours_ties(neighbour_ids, parts),
        co_engaged=tuple(
            CoEngagement(campaign_id=campaign_id, via=via, customers=customers)
            for via in engaged
            for campaign_id, customers in others(parts.companions.get(via, ()), engaged, limit)
        ),
        intents=tuple(
            IntentTie(intent=intent, campaign_id=campaign_id, customers=customers)
            for intent in ties.expressed
            for campaign_id, customers in others(parts.attracted.get(intent, ()), engaged, limit)
        ),
    )


def strongest(user_id: str, ties: Iterable[tuple[str, float]], *, limit: int) -> list[NeighbourTie]:
    """A neighbour's strongest ties, from campaigns with their weights: the strongest first, then by campaign_id."""
    kept = sorted(ties, key=lambda tie: (-tie[1], tie[0]))[:limit]
    return [NeighbourTie(user_id=user_id, campaign_id=campaign_id, weight=weight) for campaign_id, weight in kept]


def neighbours_ties(neighbour_ids: Iterable[str], parts: SharedParts) -> tuple[NeighbourTie, ...]:
    return tuple(tie for neighbour in neighbour_ids for tie in parts.neighbours.get(neighbour, ()))


def most_first(counted: Iterable[Sequence[Any]]) -> list[tuple[str, int]]:
    """The campaigns with the most customers first, then by campaign_id."""
    return sorted(((campaign_id, customers) for campaign_id, customers in counted), key=place)


def others(counted: Counted, engaged: Mapping[str, object], limit: int) -> list[tuple[str, int]]:
    """The `limit` campaigns with the most other customers than the one who engaged with `engaged`, of what stands `most_first`.

    That customer is taken off where they count, which moves only these campaigns, and only backwards.
    """
    kept, moved = list[tuple[str, int]](), list[tuple[str, int]]()
    for campaign_id, customers in counted:
        if campaign_id not in engaged:
            kept.append((campaign_id, customers))
        elif customers > 1:
            moved.append((campaign_id, customers - 1))
        if len(kept) == limit:
            break
    return sorted(kept + moved, key=place)[:limit] if moved else kept
