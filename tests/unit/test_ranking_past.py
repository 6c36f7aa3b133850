import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.engagement import ties_of, user_vector, words_spoken
from ranking.known import Conditions
from ranking.past import Past
from stores.evidence import CampaignFigures, CoEngagement, IntentTie, NeighbourTie
from stores.records import DAY_MS, Campaign, Record

CAMPAIGNS = [Campaign(campaign_id=key, name=key, group=group) for key, group in {"c_1": "g", "c_2": "g", "c_3": None}.items()]
VECTORS = {
    f"t{n}": vector / np.linalg.norm(vector) for n, vector in enumerate(np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32))
}
CONDITIONS = Conditions()

records = st.lists(
    st.builds(
        Record,
        message_id=st.uuids().map(str),
        user_id=st.sampled_from(["u", "v", "w"]),
        timestamp_ms=st.integers(0, 5 * DAY_MS),
        event=st.sampled_from(["message", "impression", "click", "conversion", "dismissal", "mailing"]),
        message=st.sampled_from(list(VECTORS)),
        role=st.sampled_from(["customer", "customer", "agent"]),
        campaign_id=st.sampled_from([None, "c_1", "c_2", "c_3", "unknown"]),
        group=st.sampled_from([None, "g"]),
        intent=st.sampled_from([None, "buy", "support"]),
        channel=st.sampled_from([None, "email"]),
    ),
    unique_by=lambda record: record.message_id,
    max_size=30,
)


def at(moment_ms: int, held: list[Record]) -> Past:
    past = Past(held, CAMPAIGNS, VECTORS, conditions=CONDITIONS)
    past.advance(moment_ms)
    return past


def said(of: str, at_ms: int, **fields: str) -> Record:
    return Record(message_id=f"{of}{at_ms}", user_id=of, timestamp_ms=at_ms, message=f"t{at_ms % 4}", **fields)  # type: ignore[arg-type]


@given(records, records, st.integers(0, 5 * DAY_MS))
def test_nothing_from_the_moment_on_is_known(held: list[Record], planted: list[Record], moment_ms: int) -> None:
    later = [record for record in planted if record.timestamp_ms >= moment_ms]
    before, with_future = at(moment_ms, held), at(moment_ms, held + later)
    assert repr(with_future.catalogue()) == repr(before.catalogue())
    assert with_future.usual() == before.usual()
    with pytest.MonkeyPatch.context() as few:
        few.setattr("ranking.conversations.FEWEST_TOGETHER", 1)
        assert dict(with_future.leads()) == dict(before.leads())
    for user_id in ("u", "v", "w"):
        assert repr(with_future.customer(user_id)) == repr(before.customer(user_id))


@given(records, st.lists(st.integers(0, 5 * DAY_MS), max_size=4))
def test_walking_in_steps_or_at_once_gives_the_same(held: list[Record], steps: list[int]) -> None:
    walked = Past(held, CAMPAIGNS, VECTORS, conditions=CONDITIONS)
    for moment_ms in sorted(steps):
        walked.advance(moment_ms)
        walked.customer("u")
        walked.catalogue()
    walked.advance(6 * DAY_MS)
    at_once = at(6 * DAY_MS, held)
    assert repr(walked.customer("u")) == repr(at_once.customer("u"))
    assert walked.catalogue().figures == at_once.catalogue().figures


@given(records)
def test_a_customer_is_what_the_assets_functions_make_of_the_records(held: list[Record]) -> None:
    past = at(6 * DAY_MS, held)
    mine = sorted((record for record in held if record.user_id == "u"), key=lambda record: (record.timestamp_ms, record.message_id))
    found, ties = past.customer("u"), ties_of("u", mine, weights=CONDITIONS.weights)
    assert found.known == bool(mine)
    around = found.surroundings
    assert {tie.campaign_id: (tie.count, tie.weight) for tie in around.own if tie.count} == {
        key: (tally.count, tally.weight) for key, tally in ties.engaged_with.items()
    }
    assert {tie.campaign_id: tie.dismissed_at_ms for tie in around.own if tie.dismissed_at_ms} == {
        key: tally.last_at_ms for key, tally in ties.dismissed.items() if tally.last_at_ms
    }
    assert [(tie.word, tie.count) for tie in around.words] == [(word, tally.count) for word, tally in words_spoken(mine).items()]
    speaking = [record for record in mine if record.speaks]
    if speaking:
        moments = np.array([record.timestamp_ms for record in speaking])
        expected = user_vector(np.stack([VECTORS[record.message or ""] for record in speaking]), moments, 30.0)
        assert found.vector is not None
        assert np.array_equal(found.vector, expected)
    else:
        assert found.vector is None


@given(records)
def test_nothing_around_a_customer_counts_what_the_customer_did(held: list[Record]) -> None:
    around = at(6 * DAY_MS, held).customer("u").surroundings
    engaged = {key: ties_of(key, [r for r in held if r.user_id == key], weights=CONDITIONS.weights) for key in ("u", "v", "w")}
    others = {key: ties for key, ties in engaged.items() if key != "u"}
    assert all(near.user_id != "u" for near in at(6 * DAY_MS, held).customer("u").neighbours)
    for both in around.co_engaged:
        assert both.customers == sum({both.campaign_id, both.via} <= ties.engaged_with.keys() for ties in others.values())
    for tie in around.intents:
        assert tie.customers == sum(tie.campaign_id in t.engaged_with and tie.intent in t.expressed for t in others.values())
    assert around.expressed == {intent: tally.count for intent, tally in engaged["u"].expressed.items()}


def test_figures_count_distinct_customers_and_mailings_as_exposure() -> None:
    held = [
        Record(message_id="1", user_id="u", timestamp_ms=1, event="mailing", group="g"),
        Record(message_id="2", user_id="v", timestamp_ms=2, event="impression", campaign_id="c_1"),
        Record(message_id="3", user_id="v", timestamp_ms=3, event="click", campaign_id="c_1"),
        Record(message_id="4", user_id="v", timestamp_ms=4, event="conversion", campaign_id="c_1"),
    ]
    figures = at(5, held).catalogue().figures
    assert figures["c_1"] == CampaignFigures(campaign_id="c_1", customers=1, exposed=2, clicks=1, conversions=1, weight=7.0, last_at_ms=4)
    assert figures["c_2"] == CampaignFigures(campaign_id="c_2", exposed=1)


def test_co_engagement_that_a_single_other_customer_shows_is_not_told() -> None:
    met = [said(user, 4, campaign_id=key) for user, keys in {"u": ["c_1"], "v": ["c_1", "c_2"]}.items() for key in keys]
    met = [
        Record(message_id=f"m{n}", user_id=r.user_id, timestamp_ms=4, event="click", campaign_id=r.campaign_id) for n, r in enumerate(met)
    ]
    assert at(5, met).customer("u").surroundings.co_engaged == ()
    more = [Record(message_id=f"w{key}", user_id="w", timestamp_ms=4, event="click", campaign_id=key) for key in ("c_1", "c_2")]
    assert at(5, met + more).customer("u").surroundings.co_engaged == (CoEngagement("c_2", "c_1", 2),)


def test_what_was_said_since_counts_for_the_customer_and_for_nobody_else() -> None:
    held = [said("u", 1), said("v", 2), Record(message_id="c", user_id="v", timestamp_ms=3, event="click", campaign_id="c_1", intent="buy")]
    past, since = at(5, held), [said("u", 6, intent="buy"), said("u", 7)]
    now = past.customer("u", since=since)
    assert sum(word.count for word in now.surroundings.words) == 6  # three messages, each a word and a phrase
    assert now.surroundings.intents == (IntentTie("buy", "c_1", 1),)
    assert now.surroundings.expressed == {"buy": 1}
    assert now.surroundings.neighbours == (NeighbourTie("v", "c_1", 2.0),)
    assert sum(word.count for word in past.customer("u").surroundings.words) == 2
    assert past.customer("stranger", since=[]).known is False


def test_what_is_usual_is_a_phrases_share_of_all_that_customers_said() -> None:
    tea = Campaign(campaign_id="tea", name="Green tea, honey")
    held = [
        Record(message_id="1", user_id="u", timestamp_ms=1, message="green tea; bread; milk"),
        Record(message_id="2", user_id="v", timestamp_ms=2, message="green tea"),
        Record(message_id="3", user_id="v", timestamp_ms=3, message="honey", role="agent"),
    ]
    past = Past(held, [tea], {}, conditions=CONDITIONS)
    assert past.usual() == {}
    past.advance(4)
    assert past.usual() == {'"green tea"': 0.5}
