import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.rules import Exclusion, Rule, exclusion, next_change_ms, running, settled_ids
from stores.evidence import OwnTie
from stores.records import Campaign

NOW_MS = 1_000_000
moments = st.none() | st.integers(NOW_MS - 3, NOW_MS + 3)


def campaign(**fields: object) -> Campaign:
    return Campaign(**{"campaign_id": "c_1", "name": "Trail Days"} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("starts_at_ms", "ends_at_ms", "rule"),
    [
        (None, None, None),
        (NOW_MS, None, None),
        (NOW_MS + 1, None, Rule.NOT_STARTED),
        (None, NOW_MS + 1, None),
        (None, NOW_MS, Rule.ENDED),
        (NOW_MS, NOW_MS, Rule.ENDED),
    ],
)
def test_a_campaign_runs_from_its_start_until_just_before_its_end(starts_at_ms: int | None, ends_at_ms: int | None, rule: Rule) -> None:
    found = exclusion(campaign(starts_at_ms=starts_at_ms, ends_at_ms=ends_at_ms), None, now_ms=NOW_MS)
    assert (found and found.rule) == rule


def test_an_exclusion_tells_the_moment_that_decided_it() -> None:
    assert exclusion(campaign(ends_at_ms=5), None, now_ms=NOW_MS) == Exclusion(Rule.ENDED, 5)
    assert exclusion(campaign(starts_at_ms=NOW_MS + 9), None, now_ms=NOW_MS) == Exclusion(Rule.NOT_STARTED, NOW_MS + 9)


@pytest.mark.parametrize(("status", "rule"), [("paused", Rule.PAUSED), ("ended", Rule.ENDED)])
def test_a_campaign_that_is_not_active_is_out_whatever_its_dates(status: str, rule: Rule) -> None:
    assert exclusion(campaign(status=status), None, now_ms=NOW_MS) == Exclusion(rule, None)


def test_a_dismissed_campaign_is_out_even_if_it_is_repeatable() -> None:
    own = OwnTie(campaign_id="c_1", dismissed_at_ms=7)
    assert exclusion(campaign(repeatable=True), own, now_ms=NOW_MS) == Exclusion(Rule.DISMISSED, 7)


def test_a_converted_campaign_is_out_unless_it_is_repeatable() -> None:
    own = OwnTie(campaign_id="c_1", converted_at_ms=8)
    assert exclusion(campaign(), own, now_ms=NOW_MS) == Exclusion(Rule.CONVERTED, 8)
    assert exclusion(campaign(repeatable=True), own, now_ms=NOW_MS) is None


def test_engaging_with_a_campaign_does_not_exclude_it() -> None:
    assert exclusion(campaign(), OwnTie(campaign_id="c_1", count=3, weight=4.0, shown=9), now_ms=NOW_MS) is None


def test_ties_to_campaigns_that_are_not_offered_exclude_nothing() -> None:
    assert settled_ids([OwnTie(campaign_id="gone", dismissed_at_ms=7)], {"c_1": campaign()}) == set()


@given(st.lists(st.tuples(moments, moments)))
def test_the_rules_cannot_change_before_the_next_change(windows: list[tuple[int | None, int | None]]) -> None:
    campaigns = {str(n): campaign(starts_at_ms=starts, ends_at_ms=ends) for n, (starts, ends) in enumerate(windows)}
    until_ms = next_change_ms(campaigns.values(), now_ms=NOW_MS)
    later = range(NOW_MS + 1, until_ms if until_ms is not None else NOW_MS + 10)
    assert all(running(campaigns, now_ms=now_ms) == running(campaigns, now_ms=NOW_MS) for now_ms in later)
    assert until_ms is None or until_ms > NOW_MS


def test_the_next_change_is_the_nearest_start_or_end_to_come() -> None:
    campaigns = [campaign(starts_at_ms=NOW_MS - 5, ends_at_ms=NOW_MS + 9), campaign(starts_at_ms=NOW_MS + 4), campaign()]
    assert next_change_ms(campaigns, now_ms=NOW_MS) == NOW_MS + 4
    assert next_change_ms([campaign(ends_at_ms=NOW_MS)], now_ms=NOW_MS) is None
