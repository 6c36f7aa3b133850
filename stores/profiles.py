"""A customer's profile as properties of a node: a graph keeps no mappings, so names and values stand in two lists of one order."""

from collections.abc import Sequence
from typing import Any

from stores.records import CustomerTies, Profile


def as_properties(customer: CustomerTies) -> list[Any]:
    """Channels of consent and what was said, suppression, names and values of attributes, groups mailed; None where there is nothing."""
    profile = customer.profile
    consent, attributes = sorted(profile.consent.items()), sorted(profile.attributes.items())
    return [
        [channel for channel, _ in consent] or None,
        [given for _, given in consent] or None,
        profile.suppressed,
        [name for name, _ in attributes] or None,
        [value for _, value in attributes] or None,
        list(customer.mailed) or None,
    ]


def of_properties(properties: Sequence[Any]) -> tuple[Profile, tuple[str, ...]]:
    """The profile and the groups mailed that `as_properties` gave these of.

    What is consented to is true only where it says so: whatever else an engine may give back for a truth is no consent.
    """
    channels, given, suppressed, names, values, mailed = properties
    profile = Profile(
        consent={channel: said is True for channel, said in zip(channels or (), given or (), strict=True)},
        suppressed=suppressed,
        attributes=dict(zip(names or (), values or (), strict=True)),
    )
    return profile, tuple(mailed or ())
