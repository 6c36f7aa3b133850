"""With which campaigns one has the most customers in common: that list, and how it is kept right when few of its numbers change."""

from collections.abc import Mapping


def most_shared(customers: Mapping[str, int], most: int) -> dict[str, int]:
    """The campaigns with the most customers in common, at most `most`, the most first, then by id; those with none are left out."""
    return dict(sorted(((id_, n) for id_, n in customers.items() if n), key=place)[:most])


def mended(had: Mapping[str, int], now: Mapping[str, int], most: int) -> dict[str, int] | None:
    """What `most_shared` gives once the numbers of some campaigns are those of `now`, where it gave `had` before.

    None where that cannot be told: a full list has left campaigns out, and what falls behind its last one may fall behind those.
    """
    found = most_shared({**had, **now}, most)
    if len(had) < most:
        return found
    bound = max(map(place, had.items()))
    return found if len(found) == most and all(place(each) <= bound for each in found.items()) else None


def place(held: tuple[str, int]) -> tuple[int, str]:
    """Where a campaign with so many customers stands: the most first, then by id."""
    campaign_id, customers = held
    return -customers, campaign_id
