from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ranking.sources import (
    AlikeCustomers,
    Candidate,
    OwnEngagement,
    Popularity,
    SharedCampaign,
    SharedIntent,
    by_trait,
    engagement,
    graph,
    own_history,
    similar_customers,
)
from stores.evidence import CampaignFigures, CoEngagement, IntentTie, Neighbour, NeighbourTie, OwnTie
from stores.records import Campaign


def figures(**customers_and_exposed: tuple[int, int]) -> dict[str, CampaignFigures]:
    return {
        key: CampaignFigures(campaign_id=key, customers=customers, exposed=exposed)
        for key, (customers, exposed) in customers_and_exposed.items()
    }


def scores(found: list[Candidate]) -> dict[str, float]:
    return {each.campaign_id: each.score for each in found}


def evidence(found: list[Candidate]) -> dict[str, object]:
    return {each.campaign_id: each.evidence for each in found}


# Similar customers


def test_engagement_of_more_similar_customers_counts_for_more() -> None:
    nearest = [Neighbour("near", 0.9), Neighbour("far", 0.3)]
    found = scores(similar_customers(nearest, [NeighbourTie("near", "c_1", 2.0), NeighbourTie("far", "c_2", 2.0)], user_id="u"))
    assert isclose(found["c_1"], 3 * found["c_2"])


def test_a_customers_own_events_never_count_as_a_neighbours() -> None:
    nearest = [Neighbour("u", 1.0), Neighbour("near", 0.5)]
    found = similar_customers(nearest, [NeighbourTie("u", "c_own", 9.0), NeighbourTie("near", "c_1", 1.0)], user_id="u")
    assert evidence(found) == {"c_1": AlikeCustomers(1, 1)}


def test_customers_who_are_not_alike_and_strangers_do_not_count() -> None:
    nearest = [Neighbour("opposite", -0.2), Neighbour("near", 0.5)]
    ties = [NeighbourTie("opposite", "c_1", 1.0), NeighbourTie("stranger", "c_2", 1.0), NeighbourTie("near", "c_3", 0.0)]
    assert similar_customers(nearest, ties, user_id="u") == []


def test_the_evidence_counts_neighbours_not_events() -> None:
    nearest = [Neighbour(f"n{n}", 0.5) for n in range(10)]
    ties = [NeighbourTie(f"n{n}", "c_1", 40.0) for n in range(4)]
    assert evidence(similar_customers(nearest, ties, user_id="u")) == {"c_1": AlikeCustomers(4, 10)}


# Graph


def test_co_engagement_prefers_the_companion_over_what_everybody_met() -> None:
    both = [CoEngagement("close", "own", 8), CoEngagement("everybodys", "own", 10)]
    found = scores(graph(both, [], figures(own=(10, 0), close=(8, 0), everybodys=(1000, 0))))
    assert found["close"] > found["everybodys"]


def test_an_intent_expressed_more_often_counts_for_more() -> None:
    ties = [IntentTie("hiking", "c_1", 3, 5), IntentTie("sailing", "c_2", 1, 5)]
    found = graph([], ties, figures(c_1=(10, 0), c_2=(10, 0)))
    assert isclose(scores(found)["c_1"], 3 * scores(found)["c_2"])
    assert evidence(found)["c_1"] == SharedIntent("hiking", 5)


def test_graph_evidence_is_the_strongest_part() -> None:
    found = graph([CoEngagement("c_1", "own", 9)], [IntentTie("hiking", "c_1", 1, 1)], figures(own=(9, 0), c_1=(9, 0)))
    assert evidence(found) == {"c_1": SharedCampaign("own", 9)}


counts = st.integers(0, 50)
ids = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.lists(st.builds(CoEngagement, ids, ids, st.integers(1, 50)), unique_by=lambda tie: (tie.campaign_id, tie.via)),
    st.lists(st.builds(IntentTie, ids, ids, st.just(0), st.integers(1, 50)), unique_by=lambda tie: (tie.intent, tie.campaign_id)),
    st.dictionaries(ids, st.tuples(counts, counts)),
)
def test_graph_scores_stay_between_0_and_2_and_ignore_the_order_of_rows(
    co_engaged: list[CoEngagement], intents: list[IntentTie], known: dict[str, tuple[int, int]]
) -> None:
    intents = [replace(tie, expressed=1 + "abcd".index(tie.intent)) for tie in intents]
    found = graph(co_engaged, intents, figures(**known))
    assert all(0 < each.score <= 2 + 1e-9 for each in found)
    again = graph(co_engaged[::-1], intents[::-1], figures(**known))
    assert sorted(again, key=lambda each: each.campaign_id) == sorted(found, key=lambda each: each.campaign_id)


# The customer's own history


def campaigns(*held: Campaign) -> dict[str, Campaign]:
    return {each.campaign_id: each for each in held}


BOOTS = Campaign(campaign_id="boots", name="Boots", category="outdoor")
TENTS = Campaign(campaign_id="tents", name="Tents", category="outdoor")
PENS = Campaign(campaign_id="pens", name="Pens", category="office")


def test_a_category_the_customer_engaged_with_is_proposed() -> None:
    known = campaigns(BOOTS, TENTS, PENS)
    offered = campaigns(TENTS, PENS)
    found = own_history([OwnTie(campaign_id="boots", count=3, weight=4.0)], known, by_trait(offered), len(offered))
    assert evidence(found) == {"tents": OwnEngagement("category", "outdoor", 3)}


def test_the_campaign_itself_is_nearer_than_its_category() -> None:
    offered = campaigns(BOOTS, TENTS, PENS)
    found = own_history([OwnTie(campaign_id="boots", count=3, weight=4.0)], offered, by_trait(offered), len(offered))
    assert scores(found)["boots"] > scores(found)["tents"]
    assert evidence(found)["boots"] == OwnEngagement("campaign", "boots", 3)


def test_a_category_that_everything_is_in_says_nothing() -> None:
    offered = campaigns(BOOTS, TENTS)
    found = own_history([OwnTie(campaign_id="boots", count=1, weight=1.0)], offered, by_trait(offered), len(offered))
    assert evidence(found) == {"boots": OwnEngagement("campaign", "boots", 1)}


def test_no_engagement_proposes_nothing() -> None:
    offered = campaigns(BOOTS, TENTS, PENS)
    assert own_history([OwnTie(campaign_id="boots", shown=4)], offered, by_trait(offered), 3) == []


# Engagement


def test_few_exposures_are_pulled_towards_the_mean() -> None:
    found = scores(engagement(figures(big=(300, 1000), lucky=(1, 1), poor=(10, 1000)), ["big", "lucky", "poor"], prior_exposures=20))
    mean = 311 / 2001
    assert isclose(found["lucky"], (1 + 20 * mean) / 21)
    assert found["big"] > found["lucky"] > found["poor"]


def test_without_any_exposure_data_the_rate_orders_by_popularity() -> None:
    found = engagement(figures(a=(5, 0), b=(50, 0), c=(20, 0)), ["a", "b", "c", "new"], prior_exposures=20)
    assert [each.campaign_id for each in sorted(found, key=lambda each: -each.score)] == ["b", "c", "a", "new"]


def test_a_campaign_without_exposure_data_does_not_beat_a_good_rate_by_having_none() -> None:
    found = scores(engagement(figures(shown=(400, 1000), unseen=(3, 0)), ["shown", "unseen"], prior_exposures=20))
    assert found["shown"] > found["unseen"]


def test_with_no_figures_at_all_every_campaign_is_equal() -> None:
    assert scores(engagement({}, ["a", "b"], prior_exposures=20)) == {"a": 0.0, "b": 0.0}


def test_engagement_evidence_holds_the_real_counts() -> None:
    [found] = engagement(figures(a=(3, 7)), ["a"], prior_exposures=20)
    assert found.evidence == Popularity(3, 7, pytest.approx(3 / 7, abs=1e-6))


@given(st.dictionaries(ids, st.tuples(counts, counts)), st.floats(0.1, 100))
def test_rates_lie_between_0_and_1(known: dict[str, tuple[int, int]], prior: float) -> None:
    assert all(0 <= each.score <= 1 for each in engagement(figures(**known), ["a", "b", "z"], prior_exposures=prior))
