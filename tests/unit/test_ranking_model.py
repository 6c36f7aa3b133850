import random
from itertools import pairwise
from math import isclose, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ranking.cases import Case
from ranking.fitting import FEWEST_CASES, Example, chosen_beyond, fit, fit_model
from ranking.fusion import Ranked, ranked
from ranking.model import RRF, RankingModel, contribution, fused, linear, weights_of
from ranking.objectives import OBJECTIVES, Objective, Told, surprise
from ranking.recommend import leaders
from ranking.sources import ENGAGEMENT, Candidate, Popularity
from ranking.walk import Archive, scenes
from stores.records import DAY_MS, Campaign, Record

KEYS = ["c_1", "c_2", "c_3", "c_4"]
CAMPAIGNS = {key: Campaign(campaign_id=key, name=key) for key in KEYS}
MODEL = RankingModel(kind="linear", weights={"graph.near": 2.0, "own.near": -1.0, "own.present": 0.5, "graph.rank": 0.25}, centre=1.0)

signals = st.dictionaries(st.sampled_from(["near", "other"]), st.floats(-3, 3))
found = st.lists(
    st.builds(Candidate, st.sampled_from(KEYS), st.floats(0, 1), st.just(Popularity(1, 1, 1.0)), signals),
    unique_by=lambda candidate: candidate.campaign_id,
)


@given(found, found)
def test_a_linear_score_is_the_squashed_sum_of_its_contributions_in_a_total_order(graph: list[Candidate], own: list[Candidate]) -> None:
    rankings = {"graph": ranked(graph, CAMPAIGNS), "own": ranked(own, CAMPAIGNS)}
    result = linear(rankings, MODEL)
    assert {each.campaign_id for each in result} == {each.campaign_id for each in graph + own}
    for each in result:
        total = sum(place.contribution for place in each.places) - MODEL.centre
        assert isclose(each.score, 1 / (1 + np.exp(-total)), abs_tol=2e-6)
    assert all((-one.score, one.campaign_id) < (-other.score, other.campaign_id) for one, other in pairwise(result))
    assert linear({source: some[::-1] for source, some in reversed(rankings.items())}, MODEL) == result


def test_a_source_that_is_not_there_adds_nothing() -> None:
    [only] = ranked([Candidate("c_1", 0.5, Popularity(1, 1, 1.0), {"near": 3.0})], CAMPAIGNS)
    assert contribution(only, weights_of("unheard_of", MODEL)) == 0.0
    assert contribution(only, weights_of("graph", MODEL)) == 2.0 * 3.0 + 0.25


@given(found, found, st.integers(1, 9))
def test_the_best_few_are_the_first_of_all(graph: list[Candidate], own: list[Candidate], most: int) -> None:
    rankings = {"graph": ranked(graph, CAMPAIGNS), "own": ranked(own, CAMPAIGNS)}
    for model in (RRF, MODEL):
        assert fused(rankings, model, k=60, weights={}, most=most) == fused(rankings, model, k=60, weights={})[:most]


def test_the_released_model_decides_how_sources_are_fused() -> None:
    rankings = {"graph": ranked([Candidate("c_1", 0.5, Popularity(1, 1, 1.0))], CAMPAIGNS)}
    assert fused(rankings, RRF, k=60, weights={})[0].score == 1.0
    assert fused(rankings, MODEL, k=60, weights={})[0].score < 0.5


def test_equal_versions_are_equal_rankings() -> None:
    assert MODEL.versioned().version == replace(MODEL, cases=9, why="other words").versioned().version
    assert MODEL.versioned().version != replace(MODEL, centre=2.0).versioned().version
    assert MODEL.versioned().version != replace(MODEL, usual={'"tea"': 0.5}).versioned().version
    assert MODEL.versioned().version != replace(MODEL, beyond={"c_1": 0.5}).versioned().version


def example(number: int, *, ended_ms: int = 0) -> Example:
    """Whoever has much of `a.good` was responded to; `a.noise` says nothing."""
    drawn = np.random.default_rng(number)
    values = np.column_stack([drawn.normal(size=12), drawn.normal(size=12)])
    positive = values[:, 0] + drawn.normal(size=12) / 2 >= np.sort(values[:, 0])[-2]
    positive[np.argmax(values[:, 0])], positive[np.argmin(values[:, 0])] = True, False
    return Example(
        user_id=f"u{number}",
        at_ms=0,
        ended_ms=ended_ms,
        campaign_ids=tuple(f"c_{row:02}" for row in range(12)),
        names=("a.good", "a.noise"),
        values=values,
        positive=positive,
        stands_for=np.ones(12),
    )


def test_a_fit_weighs_what_told_the_outcomes_apart() -> None:
    model = fit([example(n) for n in range(FEWEST_CASES)], before_ms=1)
    assert model.kind == "linear"
    assert model.weights["a.good"] > 5 * abs(model.weights.get("a.noise", 0.0))
    assert model.cases == FEWEST_CASES
    assert model == fit([example(n) for n in range(FEWEST_CASES)], before_ms=1)


def test_what_is_chosen_oftener_than_its_signals_tell_stands_higher_by_half_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four alike campaigns in eight cases, of which one is always chosen: expected were two times each."""
    alike = [
        replace(example(n), campaign_ids=tuple("abcd"), values=np.zeros((4, 2)), positive=np.arange(4) == 2, stands_for=np.ones(4))
        for n in range(8)
    ]
    found = chosen_beyond(alike, [np.zeros(4)] * 8)
    assert found.keys() == set("abcd")
    monkeypatch.setattr("ranking.fitting.MOST_BEYOND", 2)
    assert chosen_beyond(alike, [np.zeros(4)] * 8) == {"a": found["a"], "c": found["c"]}
    assert isclose(found["c"], log((8 + 5) / (2 + 5)) / 2, abs_tol=1e-6)
    assert isclose(found["a"], log((0 + 5) / (2 + 5)) / 2, abs_tol=1e-6)


def test_a_drawn_campaign_is_expected_for_those_that_it_stands_for() -> None:
    drawn = replace(
        example(0), campaign_ids=("a", "b"), values=np.zeros((2, 2)), positive=np.array([True, False]), stands_for=np.array([1.0, 3.0])
    )
    found = chosen_beyond([drawn], [np.zeros(2)])
    assert isclose(found["a"], log((1 + 5) / (1 / 4 + 5)) / 2, abs_tol=1e-6)
    assert isclose(found["b"], log(5 / (3 / 4 + 5)) / 2, abs_tol=1e-6)


def test_a_campaign_chosen_beyond_its_signals_comes_before_its_like_and_leads_for_everybody() -> None:
    model = replace(MODEL, weights={"engagement.rate": 1.0}, beyond={"c_2": 0.5})
    found = {ENGAGEMENT: [Ranked(1, Candidate(key, 0.5, Popularity(1, 1, 1.0), {"rate": 0.2})) for key in ("c_1", "c_2")]}
    assert [each.campaign_id for each in linear(found, model)] == ["c_2", "c_1"]
    assert [each.campaign_id for each in linear(found, replace(model, beyond={}))] == ["c_1", "c_2"]
    assert [each.candidate.campaign_id for each in leaders(found[ENGAGEMENT], model)] == ["c_2", "c_1"]


def told(seed: int) -> list[Told]:
    drawn = np.random.default_rng(seed)
    return [Told(drawn.normal(size=(6, 3)), np.arange(6) < 1 + case % 2, drawn.uniform(1, 5, size=6)) for case in range(5)]


@given(st.integers(0, 1000), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_the_gradient_of_choices_is_its_slope(seed: int, at: list[float]) -> None:
    cases, weights = told(seed), np.array(at)
    _, gradient = surprise(weights, cases)
    slopes = [(surprise(weights + step, cases)[0] - surprise(weights - step, cases)[0]) / 2e-5 for step in 1e-5 * np.eye(3)]
    assert np.allclose(gradient, slopes, atol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_no_evidence_counts_against_a_campaign_unless_it_may(objective: Objective) -> None:
    backwards = [Told(-each.positive[:, None].astype(float) * [1.0, 1.0, -1.0], each.positive, each.stands_for) for each in told(1)]
    weights = objective(backwards, [False, True, False])
    assert weights[0] == 0
    assert weights[1] < 0 < weights[2]


@pytest.mark.parametrize(
    ("first", "taken"), [(OBJECTIVES["choices"], "first"), (lambda told, _: np.zeros(told[0].values.shape[1]), "other")]
)
def test_another_objective_is_taken_only_where_it_does_better(first: Objective, taken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranking.fitting.OBJECTIVES", {"first": first, "other": OBJECTIVES["choices"]})
    model = fit([example(n) for n in range(FEWEST_CASES)], before_ms=1)
    assert model.objective == taken
    assert model.why.startswith(f"fitted by {taken} on {FEWEST_CASES} cases")


def test_few_past_cases_keep_fusion_and_say_so() -> None:
    model = fit([example(n) for n in range(FEWEST_CASES - 1)], before_ms=1)
    assert model.kind == "rrf"
    assert f"{FEWEST_CASES - 1} past cases are too few" in model.why


def test_what_has_not_ended_by_then_is_not_fitted_on() -> None:
    assert fit([example(n, ended_ms=5) for n in range(FEWEST_CASES)], before_ms=5).kind == "rrf"


def shop(days: int, *, seed: int = 1) -> Archive:
    """Customers say the name of what they then respond to, day after day; and one campaign is popular with nobody of them."""
    drawn, kinds = random.Random(seed), ["tea", "ink", "rope", "soap", "lamp", "cake"]
    campaigns = {
        f"c_{kind}{n}": Campaign(campaign_id=f"c_{kind}{n}", name=f"{kind} {n}", repeatable=True) for kind in kinds for n in range(3)
    }
    records: list[Record] = []
    for day in range(days):
        user, kind = f"u{day % 9}", kinds[day % 9 % 6]
        at_ms, key = day * DAY_MS + 1000, f"c_{kind}{drawn.randrange(3)}"
        records.append(Record(message_id=f"s{day}", user_id=user, timestamp_ms=at_ms, message=f"I like {kind}"))
        records.append(Record(message_id=f"c{day}", user_id=user, timestamp_ms=at_ms + 1, event="click", campaign_id=key))
    return Archive(records=records, campaigns=campaigns, vectors={})


def test_a_model_is_released_only_with_its_gain_over_fusion_on_held_out_cases() -> None:
    model = fit_model(shop(130))
    assert model.compared["rrf"].gain > 0 if model.kind == "linear" else model.compared["rrf"].gain <= 0
    assert model.held_out > 0
    assert {"linear", "rrf", "own_history", "graph", "engagement"} <= model.compared.keys()
    assert f"{model.compared['rrf'].gain:+.3f} over reciprocal rank fusion" in model.why
    assert model == fit_model(shop(130))


def test_with_few_data_fusion_is_released() -> None:
    assert fit_model(shop(5)).why == f"reciprocal rank fusion: 5 past cases are too few to fit on, {FEWEST_CASES} are needed"
    assert fit_model(Archive(records=[], campaigns={}, vectors={})).kind == "rrf"


@pytest.mark.parametrize("moment_ms", [40 * DAY_MS, 41 * DAY_MS])
def test_a_planted_future_event_changes_no_scene(moment_ms: int) -> None:
    archive = shop(60)
    case = Case(case_id="x", user_id="u1", at_ms=moment_ms, ended_ms=moment_ms, truth=frozenset({"c_ink0"}))
    planted = [
        Record(message_id=f"p{n}", user_id=user, timestamp_ms=moment_ms + n, event="conversion", campaign_id="c_ink0", message="ink 0")
        for n, user in enumerate(["u1", "u2", "u3", "u1"])
    ]
    [seen] = scenes(archive, [case])
    [with_future] = scenes(replace(archive, records=[*archive.records, *planted]), [case])
    assert repr(with_future) == repr(seen)
