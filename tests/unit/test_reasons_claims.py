"""Every name and number in a reason is what the records say, whatever they are."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.eligibility import Policy
from ranking.engagement import EngagementWeights, ties_of
from ranking.recommend import Customer, Tuning, lineup, recommend
from stores.evidence import CampaignFigures, Catalogue, CoEngagement, IntentTie, Neighbour, NeighbourTie, OwnTie, Surroundings, WordTie
from stores.records import Campaign, CustomerTies, Record, Rules
from tests.claims import Claims

NOW_MS = 1_000_000
USERS = [f"u_{n}" for n in range(5)]
CAMPAIGNS = {
    "c_0": Campaign(campaign_id="c_0", name="Trail Days", category="outdoor", group="spring", channels=("email",)),
    "c_1": Campaign(campaign_id="c_1", name="Harbour Week (sea)", category="sea", group="spring", repeatable=True),
    "c_2": Campaign(campaign_id="c_2", name="Quiet Pages.", category="outdoor", repeatable=True, channels=("app", "email")),
    "c_3": Campaign(campaign_id="c_3", name="Warm Rooms, as you did", category="home"),
    "c_9": Campaign(campaign_id="c_9", name="Gift Card", rules=Rules(fallback=True)),
}
records = st.lists(
    st.builds(
        Record,
        message_id=st.just("m"),
        user_id=st.sampled_from(USERS),
        timestamp_ms=st.integers(1, NOW_MS),
        event=st.sampled_from(["message", "click", "conversion", "impression", "dismissal", "mailing"]),
        message=st.sampled_from(["words", "warm rooms", "Trail days, by the sea", "quiet pages at home"]),
        channel=st.sampled_from([None, "email", "app"]),
        role=st.sampled_from(["customer", "customer", "customer", "agent"]),
        campaign_id=st.sampled_from([None, *CAMPAIGNS]),
        group=st.sampled_from([None, "spring"]),
        intent=st.sampled_from([None, "interest", "purchase", "support", "home"]),
    ),
    max_size=60,
)
similarities = st.lists(st.floats(-1, 1), min_size=len(USERS) - 1, max_size=len(USERS) - 1)
policies = st.sampled_from([Policy(), Policy(holdout_share=1.0, holdout_salt="a secret of some length")])


def catalogue_of(claims: Claims) -> Catalogue:
    counted = {
        key: CampaignFigures(campaign_id=key, customers=len(claims.engaged(key)), exposed=len(claims.exposed(key))) for key in CAMPAIGNS
    }
    return Catalogue(campaigns=CAMPAIGNS, figures=counted)


def around(user_id: str, everyone: dict[str, CustomerTies]) -> Surroundings:
    """What the graph tells of a customer, as its contract test has it."""
    me, others = everyone[user_id], [each for each in everyone.values() if each.user_id != user_id]
    engaged = {key: me.engaged_with.get(key) for key in me.engaged_with | me.dismissed | me.converted}
    own = [
        OwnTie(
            campaign_id=key,
            count=tally.count if tally else 0,
            weight=tally.weight if tally else 0.0,
            dismissed_at_ms=me.dismissed[key].last_at_ms if key in me.dismissed else 0,
            converted_at_ms=me.converted[key].last_at_ms if key in me.converted else 0,
        )
        for key, tally in engaged.items()
    ]
    pairs = Counter(pair for each in others for pair in itertools.permutations(each.engaged_with, 2))
    voiced = Counter(pair for each in others for pair in itertools.product(each.expressed, each.engaged_with))
    return Surroundings(
        known=True,
        own=tuple(own),
        neighbours=tuple(NeighbourTie(each.user_id, key, tie.weight) for each in others for key, tie in each.engaged_with.items()),
        co_engaged=tuple(CoEngagement(other, via, n) for (via, other), n in pairs.items() if via in me.engaged_with),
        intents=tuple(
            IntentTie(intent=intent, campaign_id=key, customers=n) for (intent, key), n in voiced.items() if intent in me.expressed
        ),
        expressed={intent: tally.count for intent, tally in me.expressed.items()},
        words=tuple(WordTie(word, tally.count, tally.last_at_ms) for word, tally in me.words.items()),
        channels=me.channels,
    )


@given(records, similarities, policies)
def test_every_claim_in_a_reason_is_what_the_records_say(said: list[Record], alike: list[float], policy: Policy) -> None:
    claims, weights, tuning = Claims(records=said, campaigns=CAMPAIGNS), EngagementWeights(), Tuning(policy=policy)
    everyone = {user_id: ties_of(user_id, [each for each in said if each.user_id == user_id], weights=weights) for user_id in USERS}
    now = lineup(catalogue_of(claims), now_ms=NOW_MS, tuning=tuning)
    for user_id in USERS:
        known = any(each.user_id == user_id for each in said)
        near = [Neighbour(other, each) for other, each in zip([u for u in USERS if u != user_id], alike, strict=True)]
        surroundings = around(user_id, everyone) if known else Surroundings()
        customer = Customer(user_id=user_id, known=known, neighbours=near if known else [], surroundings=surroundings)
        nearest = [each.user_id for each in near if each.similarity > 0]
        for each in recommend(customer, now, limit=10, tuning=tuning):
            assert claims.unsupported(each.reason, each.campaign_id, user_id=user_id, nearest=nearest) is None


@pytest.mark.parametrize(
    "untrue",
    [
        "Customers who talk like you responded to Trail Days (1 of your 1 nearest).",
        "Customers who talk like you responded to Trail Days (2 of your 2 nearest).",
        "2 customers who responded to Harbour Week (sea), as you did, also responded to Trail Days.",
        "1 customer who responded to Quiet Pages., as you did, also responded to Trail Days.",
        "1 customer who expressed the intent purchase, as you did, responded to Trail Days.",
        "You responded to Trail Days once before.",
        "You came for outdoor once, and Trail Days is of that category.",
        "You spoke of trail once, and Trail Days is about it.",
        "You spoke of sea 2 times, and Trail Days is about it.",
        "You responded 2 times by email, and Trail Days comes that way.",
        "You responded once by app, and Trail Days comes that way.",
        "You came for sea 2 times, and Trail Days is of that category.",
        "You responded once to campaigns of the category sea, and Trail Days is one.",
        "You responded twice to campaigns of the group spring, and Trail Days is one.",
        "Trail Days is popular: 2 customers responded.",
        "Trail Days is popular: 1 customer responded, and it reached 1.",
        "Trail Days is open to you; nobody has responded to it yet.",
        "Trail Days is what we have for everybody: nothing else may be offered to you now.",
        "We do not know you yet. Trail Days is popular: 1 customer responded.",
        "Harbour Week (sea) is popular: 2 customers responded.",
        "Trail Days is made for you.",
    ],
)
def test_a_claim_that_is_not_so_is_found(untrue: str) -> None:
    said = [
        Record(message_id=f"m{n}", user_id=user_id, timestamp_ms=n, event="click", campaign_id=key, intent="sea", channel="email")
        for n, (user_id, key) in enumerate([("u_1", "c_0"), ("u_1", "c_1"), ("u_0", "c_1")])
    ]
    claims = Claims(records=said, campaigns=CAMPAIGNS)
    assert claims.unsupported(untrue, "c_0", user_id="u_0", nearest=["u_1", "u_2"])
