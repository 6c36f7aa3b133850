"""What is asked of the recommender: by whom, how many, narrowed to what; and the name of it in the cache."""

from hashlib import blake2b
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from ranking.eligibility import NO_FILTERS, NO_POLICY, Filters, Policy
from stores.records import Cap
from stores.settings import BadSetting, Settings

LEAST_SALT_CHARS = 16


class Question(Struct, frozen=True, kw_only=True):
    """One customer's question."""

    user_id: str
    limit: int
    filters: Filters = NO_FILTERS


def query_of(question: Question, policy: str) -> str:
    """The same text for the same question under the same `policy` (a digest), whatever order its parts came in."""
    filters = question.filters
    if filters == NO_FILTERS and not policy:
        return str(question.limit)
    parts = {"category": filters.category, "channel": filters.channel, "exclude": ",".join(filters.exclude), "policy": policy}
    return f"{question.limit}&{urlencode({name: part for name, part in parts.items() if part})}"


def digest_of(policy: Policy) -> str:
    """What tells answers under these rules for all campaigns from others, and nothing of the secret in them; "" where there are none."""
    return "" if policy == NO_POLICY else blake2b(msgspec.json.encode(policy), digest_size=8).hexdigest()


def policy_of(settings: Settings) -> Policy:
    """The rules for all campaigns that the settings make.

    Raises:
        BadSetting: a holdout group without a secret that keeps its members from being guessed.
    """
    if settings.holdout_share > 0 and len(settings.holdout_salt) < LEAST_SALT_CHARS:
        raise BadSetting(f"CAMPAIGNS_HOLDOUT_SALT: a holdout group needs a secret of {LEAST_SALT_CHARS} characters or more")
    allowed = settings.overall_cap_impressions
    cap = None if allowed is None else Cap(impressions=allowed, period_hours=settings.overall_cap_period_hours)
    return Policy(
        overall_cap=cap, holdout_share=settings.holdout_share, holdout_salt=settings.holdout_salt if settings.holdout_share else ""
    )
