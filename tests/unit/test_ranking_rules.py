from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.eligibility import Standing, exclusions
from ranking.rules import Exclusion, Rule, next_change_ms, running
from stores.evidence import OwnTie
from stores.records import Campaign, Hours, Rules, epoch_ms

NOW_MS = 1_000_000
HOUR_MS = 3_600_000
moments = st.none() | st.integers(NOW_MS - 3, NOW_MS + 3)


def campaign(**fields: object) -> Campaign:
    return Campaign(**{"campaign_id": "c_1", "name": "Trail Days"} | fields)  # type: ignore[arg-type]


def exclusion(one: Campaign, own: OwnTie | None = None, *, now_ms: int = NOW_MS) -> Exclusion | None:
    return next(exclusions(one, Standing(now_ms=now_ms, own={own.campaign_id: own} if own else {})), None)


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
    found = exclusion(campaign(starts_at_ms=starts_at_ms, ends_at_ms=ends_at_ms))
    assert (found and found.rule) == rule


def test_an_exclusion_tells_the_moment_that_decided_it() -> None:
    assert exclusion(campaign(ends_at_ms=5)) == Exclusion(Rule.ENDED, 5)
    assert exclusion(campaign(starts_at_ms=NOW_MS + 9)) == Exclusion(Rule.NOT_STARTED, NOW_MS + 9)


@pytest.mark.parametrize(("status", "rule"), [("paused", Rule.PAUSED), ("ended", Rule.ENDED)])
def test_a_campaign_that_is_not_active_is_out_whatever_its_dates(status: str, rule: Rule) -> None:
    assert exclusion(campaign(status=status)) == Exclusion(rule, None)


def test_a_dismissed_campaign_is_out_even_if_it_is_repeatable() -> None:
    own = OwnTie(campaign_id="c_1", dismissed_at_ms=7)
    assert exclusion(campaign(repeatable=True), own) == Exclusion(Rule.DISMISSED, 7)


def test_a_converted_campaign_is_out_unless_it_is_repeatable() -> None:
    own = OwnTie(campaign_id="c_1", converted_at_ms=8)
    assert exclusion(campaign(), own) == Exclusion(Rule.CONVERTED, 8)
    assert exclusion(campaign(repeatable=True), own) is None


def test_engaging_with_a_campaign_does_not_exclude_it() -> None:
    assert exclusion(campaign(), OwnTie(campaign_id="c_1", count=3, weight=4.0, shown=9)) is None


def in_berlin(moment: str) -> int:
    """Epoch ms of a time with its offset."""
    return epoch_ms(datetime.fromisoformat(moment))


WORKDAYS = Hours(zone="Europe/Berlin", opens_minute=9 * 60, closes_minute=17 * 60, days=("mon", "tue", "wed", "thu", "fri"))
NIGHT = Hours(zone="Europe/Berlin", opens_minute=22 * 60, closes_minute=2 * 60, days=("sat",))
TURN = Hours(zone="Europe/Berlin", opens_minute=2 * 60 + 30, closes_minute=4 * 60)


@pytest.mark.parametrize(
    ("hours", "moment", "next_edge"),
    [
        (WORKDAYS, "2026-06-01T08:59:59.999+02:00", "2026-06-01T09:00+02:00"),  # a Monday
        (WORKDAYS, "2026-06-01T17:00+02:00", "2026-06-02T09:00+02:00"),
        (WORKDAYS, "2026-06-06T12:00+02:00", "2026-06-08T09:00+02:00"),  # Saturday to Monday
        (WORKDAYS, "2026-12-01T08:30+01:00", "2026-12-01T09:00+01:00"),  # the same hours of the clock in winter
        (NIGHT, "2026-06-07T02:00+02:00", "2026-06-13T22:00+02:00"),
        (NIGHT, "2026-06-06T21:59:59.999+02:00", "2026-06-06T22:00+02:00"),
        (TURN, "2026-03-29T01:59+01:00", "2026-03-29T03:30+02:00"),  # 02:30 is left out that night
    ],
)
def test_outside_its_hours_a_campaign_is_out_until_they_open(hours: Hours, moment: str, next_edge: str) -> None:
    one, now_ms, opens_ms = campaign(rules=Rules(hours=hours)), in_berlin(moment), in_berlin(next_edge)
    assert exclusion(one, now_ms=now_ms) == Exclusion(Rule.OUTSIDE_HOURS, until_ms=opens_ms)
    assert next_change_ms([one], now_ms=now_ms) == opens_ms
    assert exclusion(one, now_ms=opens_ms) is None


@pytest.mark.parametrize(
    ("hours", "moment", "next_edge"),
    [
        (WORKDAYS, "2026-06-01T09:00+02:00", "2026-06-01T17:00+02:00"),
        (WORKDAYS, "2026-06-05T16:59:59.999+02:00", "2026-06-05T17:00+02:00"),
        (NIGHT, "2026-06-07T01:59:59.999+02:00", "2026-06-07T02:00+02:00"),  # Sunday, but Saturday's night
        (TURN, "2026-10-25T02:30+02:00", "2026-10-25T04:00+01:00"),  # the clock is put back meanwhile: an hour longer
    ],
)
def test_within_its_hours_a_campaign_runs_until_they_close(hours: Hours, moment: str, next_edge: str) -> None:
    one, now_ms, closes_ms = campaign(rules=Rules(hours=hours)), in_berlin(moment), in_berlin(next_edge)
    assert exclusion(one, now_ms=now_ms) is None
    assert next_change_ms([one], now_ms=now_ms) == closes_ms
    found = exclusion(one, now_ms=closes_ms)
    assert found is not None
    assert found.rule == Rule.OUTSIDE_HOURS


def test_hours_without_an_end_are_always_open() -> None:
    always = campaign(rules=Rules(hours=Hours(zone="Asia/Kolkata")))
    assert all(exclusion(always, now_ms=NOW_MS + hour * HOUR_MS) is None for hour in range(500))


WINDOWS = st.lists(st.tuples(moments, moments))


@given(WINDOWS)
def test_the_rules_cannot_change_before_the_next_change(windows: list[tuple[int | None, int | None]]) -> None:
    campaigns = {str(n): campaign(starts_at_ms=starts, ends_at_ms=ends) for n, (starts, ends) in enumerate(windows)}
    until_ms = next_change_ms(campaigns.values(), now_ms=NOW_MS)
    later = range(NOW_MS + 1, until_ms if until_ms is not None else NOW_MS + 10)
    assert all(running(campaigns, now_ms=now_ms) == running(campaigns, now_ms=NOW_MS) for now_ms in later)
    assert until_ms is None or until_ms > NOW_MS


minutes = st.integers(0, 1439)
zones = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"])
day_sets = st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1).map(lambda days: tuple(sorted(days)))
all_hours = st.builds(Hours, zone=zones, opens_minute=minutes, closes_minute=st.integers(0, 1440), days=day_sets)


@given(all_hours, st.integers(1_600_000_000_000, 2_000_000_000_000), st.floats(0, 1))
def test_hours_do_not_change_before_their_next_edge(hours: Hours, now_ms: int, part: float) -> None:
    one = {"c_1": campaign(rules=Rules(hours=hours))}
    until_ms = next_change_ms(one.values(), now_ms=now_ms)
    assert until_ms is not None
    assert now_ms < until_ms <= now_ms + 8 * 24 * HOUR_MS
    between = now_ms + int(part * (until_ms - 1 - now_ms))
    assert running(one, now_ms=between) == running(one, now_ms=now_ms) == running(one, now_ms=until_ms - 1)


def test_the_next_change_is_the_nearest_start_or_end_to_come() -> None:
    campaigns = [campaign(starts_at_ms=NOW_MS - 5, ends_at_ms=NOW_MS + 9), campaign(starts_at_ms=NOW_MS + 4), campaign()]
    assert next_change_ms(campaigns, now_ms=NOW_MS) == NOW_MS + 4
    assert next_change_ms([campaign(ends_at_ms=NOW_MS)], now_ms=NOW_MS) is None
    assert next_change_ms([campaign(starts_at_ms=NOW_MS + 4, status="paused")], now_ms=NOW_MS) is None
