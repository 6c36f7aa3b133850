"""When a fitted model no longer stands: the past that it was fitted on has become another one by too much."""

from msgspec import Struct


class Extent(Struct, frozen=True):
    """How much past there is: records, and outcomes, counted as pairs of a customer and a campaign that they engaged with."""

    records: int
    outcomes: int


def outgrown(before: Extent, now: Extent, *, share: float) -> str | None:
    """What is more, or less, by more than `share` of what it was, in words; None while nothing is."""
    for what, then, current in (("records", before.records, now.records), ("outcomes", before.outcomes, now.outcomes)):
        if abs(current - then) > share * then:
            return f"{current} {what} now, {then} then"
    return None
