"""The global holdout group: customers who get the control answer, so that what personalisation brings can be measured."""

import hmac

from ranking.eligibility import Policy

BUCKETS = 2**64


def held_out(user_id: str, policy: Policy) -> bool:
    """Whether a customer is of the group: the same answer everywhere for one salt, and unguessable without it.

    A customer who is held out at one share is so at every larger one.
    """
    if policy.holdout_share <= 0:
        return False
    drawn = hmac.digest(policy.holdout_salt.encode(), user_id.encode(), "sha256")[:8]
    return int.from_bytes(drawn) < policy.holdout_share * BUCKETS
