import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ranking.engagement import DAY_MS, EngagementWeights, ties_of, user_vector, weight_of
from stores.records import CustomerTies, Profile, Record, Tally

WEIGHTS = EngagementWeights()


def record(at_ms: int, **fields: object) -> Record:
    return Record(**{"message_id": f"m{at_ms}", "user_id": "u_1", "timestamp_ms": at_ms, "message": "hello"} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "intent", "weight"),
    [
        ("message", None, 1.0),
        ("click", "interest", 2.0),
        ("conversion", "purchase", 5.0),
        ("message", "support", 0.0),
        ("conversion", "complaint", 0.0),
        ("impression", None, 0.0),
        ("mailing", None, 0.0),
        ("dismissal", None, 0.0),
    ],
)
def test_an_engagement_weighs_by_event_and_intent(event, intent, weight: float) -> None:
    assert weight_of(event, intent, weights=WEIGHTS) == weight


def test_messages_clicks_and_conversions_add_up_to_one_engagement() -> None:
    records = [record(1, campaign_id="c_1"), record(3, campaign_id="c_1", event="click"), record(2, campaign_id="c_1", event="conversion")]
    ties = ties_of("u_1", records, weights=WEIGHTS)
    assert ties.engaged_with == {"c_1": Tally(count=3, weight=8.0, last_at_ms=3)}
    assert ties.converted == {"c_1": Tally(count=1, weight=0.0, last_at_ms=2)}


def test_an_agents_words_never_count_as_the_customers() -> None:
    ties = ties_of("u_1", [record(1, campaign_id="c_1", intent="purchase", role="agent")], weights=WEIGHTS)
    assert (ties.engaged_with, ties.expressed) == ({}, {})


def test_a_no_that_an_agent_noted_is_a_no() -> None:
    assert "c_1" in ties_of("u_1", [record(1, campaign_id="c_1", event="dismissal", role="agent")], weights=WEIGHTS).dismissed


def test_support_is_expressed_but_is_no_engagement() -> None:
    ties = ties_of("u_1", [record(1, campaign_id="c_1", intent="support")], weights=WEIGHTS)
    assert (ties.engaged_with, set(ties.expressed)) == ({}, {"support"})


def test_impressions_are_shown_and_mailings_stay_out() -> None:
    records = [record(1, campaign_id="c_1", event="impression", intent="seen"), record(2, campaign_id="c_2", group="g", event="mailing")]
    ties = ties_of("u_1", records, weights=WEIGHTS)
    assert (set(ties.shown), ties.engaged_with, ties.expressed) == ({"c_1"}, {}, {})


def test_a_customer_without_records_has_no_ties() -> None:
    ties = ties_of("u_1", [], weights=WEIGHTS)
    assert (ties.user_id, ties.engaged_with, ties.shown, ties.dismissed, ties.converted, ties.expressed) == ("u_1", {}, {}, {}, {}, {})


events = st.sampled_from(["message", "click", "conversion", "impression", "dismissal", "mailing"])
some_records = st.lists(
    st.builds(
        Record,
        message_id=st.just("m"),
        user_id=st.just("u_1"),
        timestamp_ms=st.integers(0, 99),
        event=events,
        campaign_id=st.sampled_from([None, "c_1", "c_2"]),
        intent=st.sampled_from([None, "support", "purchase"]),
        role=st.sampled_from(["customer", "agent"]),
    )
)


@given(some_records, st.randoms())
def test_ties_do_not_depend_on_the_order_of_records(records: list[Record], random) -> None:
    shuffled = random.sample(records, len(records))
    assert ties_of("u_1", shuffled, weights=WEIGHTS) == ties_of("u_1", records, weights=WEIGHTS)


def test_a_message_of_one_half_life_ago_counts_half() -> None:
    vectors = np.eye(2, dtype=np.float32)
    found = user_vector(vectors, np.array([0, 30 * DAY_MS]), half_life_days=30.0)
    assert found == pytest.approx(np.array([0.5, 1.0]) / np.hypot(0.5, 1.0), abs=1e-6)
    assert found.dtype == np.float32


def test_moving_all_of_a_customers_messages_in_time_changes_nothing() -> None:
    vectors = np.eye(3, dtype=np.float32)
    at_ms = np.array([5, DAY_MS, 9 * DAY_MS])
    assert np.array_equal(user_vector(vectors, at_ms, 30.0), user_vector(vectors, at_ms + 1_700_000_000_000, 30.0))


def test_vectors_that_cancel_out_give_way_to_the_newest() -> None:
    vectors = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    assert user_vector(vectors, np.array([7, 7]), 30.0).tolist() == [1.0, 0.0]


def test_a_customer_who_said_nothing_has_no_vector() -> None:
    with pytest.raises(ValueError, match="0 vectors"):
        user_vector(np.empty((0, 2), np.float32), np.array([], np.int64), 30.0)
    with pytest.raises(ValueError, match="1 timestamps"):
        user_vector(np.eye(2, dtype=np.float32), np.array([1]), 30.0)


@given(arrays(np.float32, (4, 5), elements=st.floats(-1, 1, width=32)), st.lists(st.integers(0, 10**13), min_size=4, max_size=4))
def test_a_user_vector_has_length_1(vectors: np.ndarray, at_ms: list[int]) -> None:
    lengths = np.linalg.norm(vectors, axis=1)
    vectors = np.eye(4, 5, dtype=np.float32) if (lengths < 1e-3).any() else vectors / lengths[:, None]
    assert np.linalg.norm(user_vector(vectors, np.array(at_ms), 30.0)) == pytest.approx(1.0, abs=1e-5)


def stated(message_id: str, at_ms: int, **profile: object) -> Record:
    said = Profile(**profile)  # type: ignore[arg-type]
    return Record(message_id=message_id, user_id="u", timestamp_ms=at_ms, event="profile", profile=said)


STATEMENTS = [
    stated("a", 5, consent={"email": True, "sms": True}, suppressed=True, attributes={"tier": "gold", "city": "Bath"}),
    stated("b", 9, consent={"email": False}),
    stated("c", 7, consent={"email": True}, suppressed=False, attributes={"tier": "silver"}),
    stated("d", 9, attributes={"city": "Leeds"}),
    stated("e", 9, attributes={"city": "York"}),
]


@given(st.permutations(STATEMENTS))
def test_of_a_profile_the_latest_statement_of_each_field_counts_in_whatever_order_they_came(statements: list[Record]) -> None:
    known = Profile(consent={"email": False, "sms": True}, suppressed=False, attributes={"tier": "silver", "city": "York"})
    ties = ties_of("u", statements, weights=EngagementWeights())
    assert ties == CustomerTies(user_id="u", profile=known)  # which is neither an engagement nor an exposure


def test_of_mailings_the_groups_are_kept_and_of_impressions_the_last_hundred_times() -> None:
    mailings = [Record(message_id=f"m{n}", user_id="u", timestamp_ms=n, event="mailing", group=g) for n, g in enumerate(["b", "a", "b"])]
    seen = [Record(message_id=f"i{n}", user_id="u", timestamp_ms=n, event="impression", campaign_id="c") for n in range(130, 0, -1)]
    ties = ties_of("u", mailings + seen, weights=EngagementWeights())
    assert ties.mailed == ("a", "b")
    assert ties.shown == {"c": Tally(count=130, weight=0.0, last_at_ms=130, times_ms=tuple(range(31, 131)))}
