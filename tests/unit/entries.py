"""Records and campaigns of every shape that the types allow, for tests that hold for all of them."""

from hypothesis import strategies as st

from stores.records import Audience, Campaign, Cap, Hours, Profile, Record, Rules

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,20}", fullmatch=True)
TEXTS = st.text(max_size=30)  # every character but lone surrogates, which no decoder lets in
INTEGERS = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
EXTRAS = st.dictionaries(TEXTS, JSON, max_size=3)
MAYBE_TEXT = st.none() | TEXTS


PROFILES = st.builds(
    Profile,
    consent=st.dictionaries(TEXTS, st.booleans(), max_size=3),
    suppressed=st.none() | st.booleans(),
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=3),
)
VALUES = st.lists(TEXTS, max_size=3).map(tuple)
RULES = st.builds(
    Rules,
    hours=st.none() | st.builds(Hours, zone=TEXTS, opens_minute=st.integers(0, 1439), closes_minute=st.integers(0, 1440)),
    audience=st.none() | st.builds(Audience, group=MAYBE_TEXT, attributes=st.dictionaries(TEXTS, VALUES, max_size=3)),
    requires_consent=VALUES,
    caps=st.lists(st.builds(Cap, impressions=st.integers(0, 100), period_hours=st.integers(1, 1000)), max_size=2).map(tuple),
    fallback=st.booleans(),
)


def records() -> st.SearchStrategy[Record]:
    return st.builds(
        Record,
        message_id=IDS,
        user_id=IDS,
        timestamp_ms=INTEGERS,
        event=st.sampled_from(["message", "impression", "click", "conversion", "dismissal", "mailing", "profile"]),
        message=MAYBE_TEXT,
        role=st.sampled_from(["customer", "agent"]),
        campaign_id=st.none() | IDS,
        group=MAYBE_TEXT,
        intent=MAYBE_TEXT,
        channel=MAYBE_TEXT,
        session_id=MAYBE_TEXT,
        profile=st.none() | PROFILES,
        extra=EXTRAS,
    )


def campaigns() -> st.SearchStrategy[Campaign]:
    return st.builds(
        Campaign,
        campaign_id=IDS,
        name=TEXTS,
        description=MAYBE_TEXT,
        category=MAYBE_TEXT,
        channels=st.lists(TEXTS, max_size=3).map(tuple),
        status=st.sampled_from(["active", "paused", "ended"]),
        starts_at_ms=st.none() | INTEGERS,
        ends_at_ms=st.none() | INTEGERS,
        priority=INTEGERS,
        group=MAYBE_TEXT,
        repeatable=st.booleans(),
        rules=st.just(Rules()) | RULES,
        extra=EXTRAS,
    )


def entries() -> st.SearchStrategy[Record | Campaign]:
    return records() | campaigns()
