from datetime import datetime
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from ranking.popularity import Lately, engagement, kind_rates, lately
from ranking.sources import Candidate, Popularity
from stores.evidence import CampaignDay, CampaignFigures
from stores.records import Campaign, epoch_ms

NEWEST_MS = epoch_ms(datetime(2026, 3, 31, 12))


def rated(prior: float = 20, recent: dict[str, Lately] | None = None, **counted: tuple[int, int]) -> dict[str, Candidate]:
    figures = {
        key: CampaignFigures(campaign_id=key, customers=customers, exposed=exposed)
        for key, (customers, exposed) in counted.items()
        if customers or exposed
    }
    campaigns = {key: Campaign(campaign_id=key, name=key) for key in counted}
    found = engagement(figures, campaigns, recent or {}, prior_exposures=prior, kinds={}, now_ms=NEWEST_MS)
    return {each.campaign_id: each for each in found}


def in_order(found: dict[str, Candidate]) -> list[str]:
    return sorted(found, key=lambda key: -found[key].score)


def rate(candidate: Candidate) -> float:
    assert isinstance(candidate.evidence, Popularity)
    return candidate.evidence.rate


def test_few_exposures_are_pulled_towards_the_mean() -> None:
    found = rated(big=(300, 1000), lucky=(1, 1), poor=(10, 1000))
    assert isclose(rate(found["lucky"]), (1 + 20 * 311 / 2001) / 21, abs_tol=1e-6)
    assert in_order(found) == ["big", "lucky", "poor"]


def test_of_two_equal_rates_the_surer_one_goes_first() -> None:
    found = rated(few=(10, 20), many=(500, 1000), rest=(500, 1000))
    assert isclose(rate(found["few"]), rate(found["many"]), abs_tol=1e-6)
    assert found["many"].score > found["few"].score


def test_without_any_exposure_data_the_rate_orders_by_popularity() -> None:
    assert in_order(rated(a=(5, 0), b=(50, 0), c=(20, 0), new=(0, 0))) == ["b", "c", "a", "new"]


def test_a_campaign_without_exposure_data_does_not_beat_a_good_rate_by_having_none() -> None:
    assert in_order(rated(shown=(400, 1000), unseen=(3, 0))) == ["shown", "unseen"]


def test_with_no_figures_at_all_every_campaign_is_equal() -> None:
    assert {each.score for each in rated(a=(0, 0), b=(0, 0)).values()} == {0.0}


def test_what_was_engaged_with_long_ago_counts_less() -> None:
    days = [CampaignDay(campaign_id="old", day="2026-01-06", clicks=10), CampaignDay(campaign_id="new", day="2026-03-31", clicks=10)]
    recent = lately(days, newest_ms=NEWEST_MS, half_life_days=14)
    assert isclose(recent["old"].engaged, 10 * 0.5**6)
    assert recent["new"] == Lately(10.0, 1.0, 1.0)
    assert in_order(rated(recent=recent, old=(10, 100), new=(10, 100))) == ["new", "old"]


def test_a_category_that_does_well_speaks_for_its_new_campaigns() -> None:
    campaigns = {key: Campaign(campaign_id=key, name=key, category=kind) for key, kind in {"a": "tea", "b": "ink", "new": "tea"}.items()}
    figures = {
        "a": CampaignFigures(campaign_id="a", customers=900, exposed=1000),
        "b": CampaignFigures(campaign_id="b", customers=9, exposed=1000),
    }
    kinds = kind_rates(figures, campaigns, prior_exposures=2)
    assert kinds["tea"] > 0 > kinds["ink"]


counts = st.integers(0, 50)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.tuples(counts, counts), min_size=1), st.floats(0.1, 100))
def test_scores_lie_between_0_and_the_rate(counted: dict[str, tuple[int, int]], prior: float) -> None:
    for each in rated(prior, **counted).values():
        assert 0 <= each.score <= rate(each) + 1e-6 <= 1 + 2e-6
