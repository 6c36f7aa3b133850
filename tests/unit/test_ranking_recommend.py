from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ranking.fusion import fuse, ranked
from ranking.recommend import Customer, Tuning, lineup, personal, recommend
from ranking.sources import ENGAGEMENT
from stores.evidence import (
    CampaignDay,
    CampaignFigures,
    Catalogue,
    CoEngagement,
    IntentTie,
    Neighbour,
    NeighbourTie,
    OwnTie,
    Surroundings,
    WordTie,
)
from stores.records import Campaign, epoch_ms

NOW_MS = 1_000
TUNING = Tuning()
NAMES = {"c_1": "Trail Days", "c_2": "Harbour Week", "c_3": "Quiet Pages", "c_4": "Old News", "c_5": "Warm Rooms"}
CATEGORIES = {"c_1": "outdoor", "c_2": "outdoor", "c_3": "home", "c_4": "home", "c_5": "home"}
CATALOGUE = Catalogue(
    campaigns={
        key: Campaign(campaign_id=key, name=name, category=CATEGORIES[key], ends_at_ms=NOW_MS if key == "c_4" else None)
        for key, name in NAMES.items()
    },
    figures={
        "c_1": CampaignFigures(campaign_id="c_1", customers=4, exposed=40),
        "c_2": CampaignFigures(campaign_id="c_2", customers=12, exposed=40),
        "c_3": CampaignFigures(campaign_id="c_3", customers=3, exposed=0),
        "c_4": CampaignFigures(campaign_id="c_4", customers=40, exposed=40),
    },
)
LINEUP = lineup(CATALOGUE, now_ms=NOW_MS, tuning=TUNING)


def known(**around: object) -> Customer:
    nearest = [Neighbour(f"n{n}", 0.8) for n in range(10)]
    return Customer(user_id="u", known=True, neighbours=nearest, surroundings=Surroundings(known=True, **around))  # type: ignore[arg-type]


def reasons(customer: Customer, limit: int = 10) -> dict[str, str]:
    return {each.campaign_id: each.reason for each in recommend(customer, LINEUP, limit=limit, tuning=TUNING)}


def test_a_customer_never_heard_of_gets_what_is_popular_and_is_told_so() -> None:
    found = recommend(Customer(user_id="u", known=False), LINEUP, limit=2, tuning=TUNING)
    assert [each.campaign_id for each in found] == ["c_2", "c_1"]
    assert found[0].reason == "We do not know you yet. Harbour Week is popular: 12 customers responded, and it reached 40."


def test_a_customer_never_heard_of_gets_an_answer_whatever_the_source_weights_are() -> None:
    tuning = Tuning(source_weights={ENGAGEMENT: 0.0})
    assert recommend(Customer(user_id="u", known=False), LINEUP, limit=2, tuning=tuning)


def test_a_record_that_is_dated_ahead_makes_nothing_else_old() -> None:
    days = tuple(CampaignDay(campaign_id=key, day="1970-01-01", clicks=4, impressions=40) for key in ("c_1", "c_2"))
    as_it_is = lineup(replace(CATALOGUE, days=days, newest_ms=NOW_MS), now_ms=NOW_MS, tuning=TUNING)
    ahead = CampaignDay(campaign_id="c_3", day="2099-01-01", clicks=1)
    with_one_ahead = lineup(replace(CATALOGUE, days=(*days, ahead), newest_ms=epoch_ms(datetime(2099, 1, 1))), now_ms=NOW_MS, tuning=TUNING)
    assert {key: with_one_ahead.recent[key] for key in ("c_1", "c_2")} == as_it_is.recent


def test_three_ways_of_being_alike_do_not_outvote_what_the_customer_says_and_what_does_well() -> None:
    around = {
        "words": (WordTie('"harbour week"', 3, 0),),
        "neighbours": (NeighbourTie("n1", "c_5", 2.0), NeighbourTie("n1", "c_3", 2.0)),
        "own": (OwnTie(campaign_id="c_1", dismissed_at_ms=5, count=1, weight=1.0),),
        "co_engaged": (CoEngagement("c_5", "c_1", 1),),
    }
    assert recommend(known(**around), LINEUP, limit=1, tuning=TUNING)[0].campaign_id == "c_2"
    alike = recommend(known(**around), LINEUP, limit=1, tuning=Tuning(source_weights={}))[0]
    assert alike.campaign_id == "c_5"


def test_nobody_is_offered_what_is_not_running_however_popular() -> None:
    assert "c_4" not in reasons(known(neighbours=(NeighbourTie("n1", "c_4", 9.0),)))
    assert "c_4" not in reasons(Customer(user_id="u", known=False))


def test_dismissed_and_converted_campaigns_are_not_offered() -> None:
    own = (OwnTie(campaign_id="c_1", dismissed_at_ms=5), OwnTie(campaign_id="c_2", converted_at_ms=5, weight=5.0, count=1))
    assert set(reasons(known(own=own, neighbours=(NeighbourTie("n1", "c_1", 2.0), NeighbourTie("n1", "c_2", 2.0))))) == {"c_3", "c_5"}


def test_each_reason_is_made_of_the_evidence_of_its_campaign() -> None:
    ties = tuple(NeighbourTie(f"n{n}", "c_1", 2.0) for n in range(4))
    found = reasons(
        known(
            neighbours=ties,
            own=(OwnTie(campaign_id="c_2", count=2, weight=2.0),),
            co_engaged=(CoEngagement("c_5", "c_2", 1),),
            intents=(IntentTie("reading", "c_3", 2),),
            expressed={"reading": 1},
        )
    )
    assert reasons(known(neighbours=ties))["c_1"] == "Customers who talk like you responded to Trail Days (4 of your 10 nearest)."
    assert found == {
        "c_1": "You responded 2 times to campaigns of the category outdoor, and Trail Days is one.",
        "c_2": "You responded to Harbour Week 2 times before.",
        "c_3": "2 customers who expressed the intent reading, as you did, responded to Quiet Pages.",
        "c_5": "1 customer who responded to Harbour Week, as you did, also responded to Warm Rooms.",
    }


def test_a_word_said_once_is_told_only_where_nothing_else_ties_the_customer_to_a_campaign() -> None:
    once, often = (WordTie("harbour", 1, 0),), (WordTie("harbour", 2, 0),)
    ties = (NeighbourTie("n1", "c_2", 2.0),)
    assert reasons(known(words=once))["c_2"] == "You spoke of harbour once, and Harbour Week is about it."
    assert reasons(known(words=often, neighbours=ties))["c_2"] == "You spoke of harbour 2 times, and Harbour Week is about it."
    assert (
        reasons(known(words=once, neighbours=ties))["c_2"]
        == "Customers who talk like you responded to Harbour Week (1 of your 10 nearest)."
    )


def test_own_history_is_told_by_what_the_campaigns_share() -> None:
    found = reasons(known(own=(OwnTie(campaign_id="c_1", count=1, weight=1.0), OwnTie(campaign_id="c_2", dismissed_at_ms=1))))
    assert found["c_1"] == "You responded to Trail Days once before."
    found = reasons(known(own=(OwnTie(campaign_id="c_4", count=3, weight=1.0),)))
    assert found["c_5"] == "You responded 3 times to campaigns of the category home, and Warm Rooms is one."


def test_a_campaign_that_nobody_responded_to_claims_nothing() -> None:
    assert reasons(known())["c_5"] == "Warm Rooms is open to you; nobody has responded to it yet."


def test_a_campaign_without_exposure_data_claims_no_reach() -> None:
    assert reasons(known())["c_3"] == "Quiet Pages is popular: 3 customers responded."


ids = st.sampled_from([f"c_{n}" for n in range(12)])
campaigns = st.lists(
    st.builds(
        Campaign,
        campaign_id=ids,
        name=ids,
        category=st.sampled_from([None, "home", "outdoor"]),
        status=st.sampled_from(["active", "active", "paused"]),
        priority=st.integers(0, 2),
        repeatable=st.booleans(),
    ),
    unique_by=lambda campaign: campaign.campaign_id,
)
own_ties = st.lists(
    st.builds(
        OwnTie,
        campaign_id=ids,
        count=st.integers(0, 3),
        weight=st.floats(0, 9),
        dismissed_at_ms=st.sampled_from([0, 0, 7]),
        converted_at_ms=st.sampled_from([0, 0, 7]),
    ),
    unique_by=lambda tie: tie.campaign_id,
).map(tuple)
figures = st.dictionaries(ids, st.tuples(st.integers(0, 9), st.integers(0, 30)))
neighbour_ties = st.lists(
    st.builds(NeighbourTie, st.sampled_from(["n1", "n2"]), ids, st.floats(0, 9)), unique_by=lambda tie: (tie.user_id, tie.campaign_id)
).map(tuple)


@given(campaigns, figures, own_ties, neighbour_ties, st.booleans(), st.integers(1, 14))
def test_the_first_places_are_those_of_fusing_everything_that_may_be_offered(held, counted, own, ties, is_known, limit) -> None:
    catalogue = Catalogue(
        campaigns={each.campaign_id: each for each in held},
        figures={key: CampaignFigures(campaign_id=key, customers=few, exposed=many) for key, (few, many) in counted.items()},
    )
    around = Surroundings(known=is_known, own=own if is_known else (), neighbours=ties)
    customer = Customer(user_id="u", known=is_known, neighbours=[Neighbour("n1", 0.9), Neighbour("n2", 0.2)], surroundings=around)
    now = lineup(catalogue, now_ms=NOW_MS, tuning=TUNING)
    found = recommend(customer, now, limit=limit, tuning=TUNING)

    refused = {tie.campaign_id for tie in around.own if tie.dismissed_at_ms or (tie.converted_at_ms and not is_repeatable(catalogue, tie))}
    allowed = {key: each for key, each in catalogue.campaigns.items() if each.status == "active" and key not in refused}
    everything = {source: ranked(proposed, allowed) for source, proposed in personal(customer, now, now_ms=now.now_ms).items()}
    everything[ENGAGEMENT] = [each for each in now.popular if each.candidate.campaign_id in allowed]
    weights = TUNING.source_weights if is_known else {}
    expected = fuse(everything, k=TUNING.fusion_k, weights=weights)[:limit]
    assert [(each.campaign_id, each.score, each.places) for each in found] == [(e.campaign_id, e.score, e.places) for e in expected]
    assert len(found) == min(limit, len(allowed))


def is_repeatable(catalogue: Catalogue, tie: OwnTie) -> bool:
    return tie.campaign_id in catalogue.campaigns and catalogue.campaigns[tie.campaign_id].repeatable
