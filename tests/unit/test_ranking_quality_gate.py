"""When a release is held back for the quality of its ranking."""

import pytest

from platform_assets.assets.ranking_quality import fallen


def quality(mean: float, *, reach: float = 0.02, cases: float = 100.0) -> dict[str, float]:
    return {"ndcg@10": mean, "low": mean - reach, "high": mean + reach, "cases": cases}


@pytest.mark.parametrize(
    ("before", "now", "fell"),
    [
        (quality(0.30), quality(0.20), True),
        (quality(0.30), quality(0.28), False),  # within the interval of the difference, 0.028
        (quality(0.30), quality(0.27), True),
        (quality(0.30), quality(0.40), False),
        (quality(0.30), quality(0.20, cases=59), False),
        (quality(0.30, cases=59), quality(0.20), False),
        ({}, quality(0.20), False),
        (quality(0.30), {}, False),
    ],
)
def test_quality_fell_where_the_interval_of_the_difference_lies_below_zero(before: dict, now: dict, fell: bool) -> None:
    assert fallen(before, now) == fell
