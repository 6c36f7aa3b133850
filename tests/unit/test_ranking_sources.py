from math import isclose

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranking.sources import (
    AlikeCustomers,
    Candidate,
    SharedCampaign,
    SharedIntent,
    campaign_texts,
    graph,
    similar_campaigns,
    similar_customers,
)
from stores.evidence import CampaignFigures, CoEngagement, IntentTie, Neighbour, NeighbourTie


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
    found = scores(graph(both, [], {}, figures(own=(10, 0), close=(8, 0), everybodys=(1000, 0))))
    assert found["close"] > found["everybodys"]


def test_an_intent_expressed_more_often_counts_for_more() -> None:
    ties = [IntentTie("hiking", "c_1", 5), IntentTie("sailing", "c_2", 5)]
    found = graph([], ties, {"hiking": 3, "sailing": 1, "cooking": 6}, figures(c_1=(10, 0), c_2=(10, 0)))
    assert isclose(scores(found)["c_1"], 0.3 * 0.5)  # what leads nowhere was expressed, too
    assert isclose(scores(found)["c_1"], 3 * scores(found)["c_2"])
    assert evidence(found)["c_1"] == SharedIntent("hiking", 5)


def test_graph_evidence_is_the_strongest_part() -> None:
    found = graph([CoEngagement("c_1", "own", 9)], [IntentTie("hiking", "c_1", 1)], {"hiking": 1}, figures(own=(9, 0), c_1=(9, 0)))
    assert evidence(found) == {"c_1": SharedCampaign("own", 9)}


counts = st.integers(0, 50)
ids = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.lists(st.builds(CoEngagement, ids, ids, st.integers(1, 50)), unique_by=lambda tie: (tie.campaign_id, tie.via)),
    st.lists(st.builds(IntentTie, ids, ids, st.integers(1, 50)), unique_by=lambda tie: (tie.intent, tie.campaign_id)),
    st.dictionaries(ids, st.integers(1, 9)),
    st.dictionaries(ids, st.tuples(counts, counts)),
)
def test_graph_scores_stay_between_0_and_2_and_ignore_the_order_of_rows(
    co_engaged: list[CoEngagement], intents: list[IntentTie], expressed: dict[str, int], known: dict[str, tuple[int, int]]
) -> None:
    found = graph(co_engaged, intents, expressed, figures(**known))
    assert all(0 < each.score <= 2 + 1e-9 for each in found)
    again = graph(co_engaged[::-1], intents[::-1], expressed, figures(**known))
    assert sorted(again, key=lambda each: each.campaign_id) == sorted(found, key=lambda each: each.campaign_id)


# Campaigns' own texts


def unit(*numbers: float) -> np.ndarray:
    vector = np.array(numbers, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def test_campaigns_are_proposed_by_how_near_their_text_is_to_what_the_customer_says() -> None:
    texts = campaign_texts({"near": unit(1, 0.1), "far": unit(0.1, 1), "opposite": unit(-1, 0)}, ["near", "far", "opposite", "unknown"])
    found = scores(similar_campaigns(unit(1, 0), texts))
    assert sorted(found, key=lambda key: -found[key]) == ["near", "far"]
    assert isclose(found["near"], 1 / np.hypot(1, 0.1), abs_tol=1e-6)


def test_a_customer_without_a_vector_is_near_to_nothing() -> None:
    texts = campaign_texts({"near": unit(1, 0)}, ["near"])
    assert similar_campaigns(None, texts) == []
    assert similar_campaigns(unit(1, 0, 0), texts) == []  # of another model
    assert similar_campaigns(unit(1, 0), campaign_texts({}, ["near"])) == []
