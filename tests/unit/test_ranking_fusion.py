from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from ranking.fusion import DECIMALS, Ranked, fuse, ranked
from ranking.sources import Candidate, Popularity
from stores.records import Campaign

IDS = [f"c_{n}" for n in range(8)]
CAMPAIGNS = {key: Campaign(campaign_id=key, name=key, priority=n % 3) for n, key in enumerate(IDS)}
K = 60

some_scores = st.dictionaries(st.sampled_from(IDS), st.floats(0, 1, allow_subnormal=False))
some_sources = st.dictionaries(st.sampled_from(["similar_customers", "graph", "own_history", "engagement"]), some_scores)
some_weights = st.dictionaries(st.sampled_from(["similar_customers", "graph", "engagement"]), st.floats(0.1, 5))


def candidates(scores: dict[str, float]) -> list[Candidate]:
    return [Candidate(key, score, Popularity(1, 1, 1.0)) for key, score in scores.items()]


def rankings(sources: dict[str, dict[str, float]]) -> dict[str, list[Ranked]]:
    return {source: ranked(candidates(scores), CAMPAIGNS) for source, scores in sources.items()}


def fused_scores(sources: dict[str, dict[str, float]]) -> dict[str, float]:
    return {each.campaign_id: each.score for each in fuse(rankings(sources), k=K)}


@given(some_sources, some_weights, st.randoms())
def test_the_order_of_the_input_does_not_matter(sources: dict[str, dict[str, float]], weights: dict[str, float], random) -> None:
    def shuffled(held: dict) -> dict:
        return dict(random.sample(list(held.items()), len(held)))

    again = shuffled({source: shuffled(scores) for source, scores in sources.items()})
    assert fuse(rankings(again), k=K, weights=shuffled(weights)) == fuse(rankings(sources), k=K, weights=weights)


@given(some_sources, some_weights)
def test_scores_lie_in_0_to_1_and_the_order_is_score_then_id(sources: dict[str, dict[str, float]], weights: dict[str, float]) -> None:
    fused = fuse(rankings(sources), k=K, weights=weights)
    assert all(0 < each.score <= 1 for each in fused)
    assert [(-each.score, each.campaign_id) for each in fused] == sorted((-each.score, each.campaign_id) for each in fused)
    assert {each.campaign_id for each in fused} == {key for scores in sources.values() for key in scores}


@given(some_sources, st.sampled_from(IDS), st.floats(0, 2))
def test_a_higher_score_in_a_source_never_lowers_a_campaign(sources: dict[str, dict[str, float]], key: str, more: float) -> None:
    before = fused_scores(sources)
    raised = {source: {each: score + more * (each == key) for each, score in scores.items()} for source, scores in sources.items()}
    after = fused_scores(raised)
    assert after.get(key, 0) >= before.get(key, 0)
    assert all(after[other] <= before[other] for other in before if other != key)


@given(some_sources)
def test_a_source_without_candidates_is_left_out(sources: dict[str, dict[str, float]]) -> None:
    assert fuse({**rankings(sources), "broken": []}, k=K) == fuse(rankings(sources), k=K)


@given(some_sources, some_weights)
def test_a_score_is_the_sum_of_its_places(sources: dict[str, dict[str, float]], weights: dict[str, float]) -> None:
    for each in fuse(rankings(sources), k=K, weights=weights):
        assert isclose(each.score, sum(place.contribution for place in each.places), abs_tol=2 * 10**-DECIMALS)
        parts = [place.contribution for place in each.places]
        assert parts == sorted(parts, reverse=True)


def test_first_in_every_source_is_1() -> None:
    assert fused_scores({"graph": {"c_0": 0.9, "c_1": 0.1}, "engagement": {"c_0": 0.2}})["c_0"] == 1.0


def test_a_weight_of_0_silences_a_source() -> None:
    sources = rankings({"graph": {"c_0": 0.9}, "engagement": {"c_1": 0.2}})
    assert [each.campaign_id for each in fuse(sources, k=K, weights={"engagement": 0.0})] == ["c_0"]


def test_equal_scores_share_a_rank_unless_one_has_the_higher_priority() -> None:
    found = ranked(candidates({"c_0": 0.5, "c_3": 0.5, "c_2": 0.5, "c_1": 0.4}), CAMPAIGNS)
    assert [(each.rank, each.candidate.campaign_id) for each in found] == [(1, "c_2"), (2, "c_0"), (2, "c_3"), (4, "c_1")]


def test_campaigns_that_are_not_offered_are_not_ranked() -> None:
    assert ranked(candidates({"c_0": 0.5, "gone": 0.9}), CAMPAIGNS)[0].candidate.campaign_id == "c_0"
