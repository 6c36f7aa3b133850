from itertools import pairwise, product
from math import inf, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ranking.cases import Case, cases_of
from ranking.fitting import example_of, fit
from ranking.intervals import mean_by_customer
from ranking.measures import ndcg, recall, reciprocal_rank
from ranking.model import RRF, RankingModel
from ranking.placing import order_of
from ranking.quality import Trial, judge, sampled
from ranking.recommend import lineup, recommend
from ranking.walk import Scene, as_served, scenes
from stores.records import DAY_MS, iso
from tests.unit.test_ranking_model import shop

KEYS = ["a", "b", "c", "d", "e", "f"]
orders = st.permutations(KEYS)
truths = st.sets(st.sampled_from(KEYS), min_size=1).map(frozenset)


def test_ndcg_discounts_each_hit_by_its_place() -> None:
    assert ndcg(["x", "a", "y", "b"], frozenset("ab"), k=10) == pytest.approx((1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3)))
    assert ndcg(["x", "a"], frozenset("a"), k=1) == 0.0


@given(orders, truths, st.integers(1, 8))
def test_measures_lie_in_0_to_1_and_are_best_for_the_truth_first(order: list[str], truth: frozenset[str], k: int) -> None:
    best = sorted(order, key=lambda key: key not in truth)
    for measure in (lambda ranked: ndcg(ranked, truth, k=k), lambda ranked: recall(ranked, truth, k=k)):
        assert 0 <= measure(order) <= measure(best) <= 1
    assert ndcg(best, truth, k=k) == pytest.approx(1)
    assert 0 < reciprocal_rank(order, truth) <= reciprocal_rank(best, truth) == 1


def test_cases_of_one_customer_make_an_interval_no_narrower() -> None:
    values = [0.0, 1.0, 0.2, 0.9] * 10
    apart = mean_by_customer(values, [f"u{n}" for n in range(40)])
    together = mean_by_customer(values, [f"u{n % 4}" for n in range(40)])
    assert apart[0] == together[0] == pytest.approx(0.525)
    assert together[2] - together[1] > apart[2] - apart[1]
    assert mean_by_customer(values, [f"u{n}" for n in range(40)]) == apart


def test_of_too_many_cases_the_same_ones_are_drawn_whatever_their_order() -> None:
    archive = shop(60)
    cases = cases_of(archive.records, archive.campaigns)
    drawn = sampled(cases, 20)
    assert len(drawn) == 20
    assert {case.case_id for case in drawn} == {case.case_id for case in sampled(cases[::-1], 20)}
    assert sampled(cases, 60) == cases


def test_a_judgement_covers_every_method_and_says_what_was_served() -> None:
    found = judge(shop(130), refit_share=0.05)
    assert found.cases == 39
    assert set(found.methods) == {
        "served", "random", "popularity", "recent_popularity", "rrf",
        "similar_customers", "similar_campaigns", "graph", "own_history", "engagement",
    }  # fmt: skip
    assert set(found.differences) == {f"served-{name}" for name in found.methods if name != "served"}
    assert found.silent == ["similar_customers", "similar_campaigns"]  # nothing was embedded
    assert found.methods["served"]["ndcg@10"] > found.methods["random"]["ndcg@10"] + 0.2
    mean, low, high = found.differences["served-random"]["ndcg@10"]
    assert 0 < low < mean < high
    assert mean == pytest.approx(found.methods["served"]["ndcg@10"] - found.methods["random"]["ndcg@10"], abs=1e-5)
    assert all(why.startswith(("fitted by", "reciprocal rank fusion")) for why in found.models.values())
    assert sum(found.segments[name].cases for name in ("new", "light", "heavy") if name in found.segments) == found.cases


def test_the_judged_model_is_fitted_anew_when_the_past_has_grown_by_the_share() -> None:
    archive = shop(130)
    once, seldom, often = (judge(archive, refit_share=share) for share in (inf, 0.2, 0.05))
    assert len(once.models) == 1
    assert len(once.models) < len(seldom.models) < len(often.models) < often.cases
    judged = sorted(case.at_ms for case in cases_of(archive.records, archive.campaigns))[-often.cases :]
    known = {iso(at_ms): sum(record.timestamp_ms < at_ms for record in archive.records) for at_ms in judged}
    fitted_at = sorted(often.models)
    assert all(known[later] > 1.05 * known[earlier] for earlier, later in pairwise(fitted_at))
    assert known[iso(judged[-1])] <= 1.05 * known[fitted_at[-1]]


def test_what_is_judged_is_what_is_served() -> None:
    """Under a model of any age: what it keeps of the past is its own, not the moment's; so with the ways that need no model."""
    archive = shop(130)
    seen = list(scenes(archive, cases_of(archive.records, archive.campaigns)))
    half, last = len(seen) // 2, seen[-20:]
    kept = seen[half].lineup.model
    model = fit([example_of(scene) for scene in seen[:half]], before_ms=seen[half].case.at_ms, usual=kept.usual, leads=kept.leads)
    assert model.kind == "linear"
    assert model.usual != last[-1].lineup.model.usual
    for scene, under in product(last, (model, RRF)):
        served = lineup(scene.lineup.catalogue, now_ms=scene.case.at_ms, tuning=archive.tuning, model=under)
        assert scene.offered.keys() == served.offered.keys()
        expected = recommend(scene.customer, served, limit=10, tuning=archive.tuning)
        assert order_of(as_served(scene, under), tuning=archive.tuning)[: len(expected)] == [each.campaign_id for each in expected]


def test_what_a_model_ranks_first_is_judged_however_far_behind_fusion_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many of the campaigns that nothing but engagement speaks for are ranked: those that lead under the model that serves."""
    archive = shop(130)
    *_, scene = scenes(archive, cases_of(archive.records, archive.campaigns))
    stranger = replace(scene, customer=replace(scene.customer, known=False))
    last = scene.lineup.popular[-1].candidate.campaign_id
    model = RankingModel(kind="linear", weights={"engagement.rate": 1.0}, beyond={last: 50.0})
    monkeypatch.setattr("ranking.walk.DEPTH", 1)
    assert order_of(as_served(stranger, model), tuning=archive.tuning)[0] == last


def test_what_a_model_would_be_fitted_on_is_not_what_is_judged() -> None:
    """A scene's own rankings know what was usual at that very moment; a served model knows it as of its fit, and fusion never."""
    archive = shop(130)
    seen = list(scenes(archive, cases_of(archive.records, archive.campaigns)))
    assert any(unusual(seen[-1]))
    assert not any(unusual(as_served(seen[-1], RRF)))
    found = []
    for blind in (False, True):
        trial = Trial(archive.tuning, refit_share=inf, fitted=True)
        trial.examples.extend(map(example_of, seen[:-20]))
        for scene in seen[-20:]:
            trial.judge(replace(scene, rankings={}) if blind else scene)
        found.append(trial.quality().methods)
    assert found[0] == found[1]


def unusual(scene: Scene) -> list[float]:
    return [each.candidate.signals.get("unusual", 0.0) for each in scene.rankings["own_history"]]


def test_given_candidates_are_ranked_though_the_rules_would_not_offer_them() -> None:
    archive = shop(60)
    ended = replace(archive.campaigns["c_ink0"], ends_at_ms=40 * DAY_MS)
    candidates = frozenset({"c_ink0", "c_tea0", "c_rope0"})
    given = Case(case_id="x", user_id="u1", at_ms=40 * DAY_MS, ended_ms=40 * DAY_MS, truth=frozenset({"c_ink0"}), candidates=candidates)
    [scene] = scenes(replace(archive, campaigns=archive.campaigns | {"c_ink0": ended}), [given])
    assert scene.truth == {"c_ink0"}
    assert {each.candidate.campaign_id for each in scene.rankings["engagement"]} == candidates
    own = replace(given, candidates=None)
    assert list(scenes(replace(archive, campaigns=archive.campaigns | {"c_ink0": ended}), [own])) == []
