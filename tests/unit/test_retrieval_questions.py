"""What a question is called in the cache, and what the settings make of the rules for all campaigns."""

import re

import pytest
from litestar.exceptions import ValidationException

from ranking.eligibility import NO_FILTERS, NO_POLICY, Filters, Policy
from retrieval.parameters import EXCLUDED, MOST_EXCLUDED, filters_of
from retrieval.question import Question, digest_of, policy_of, query_of
from stores.records import Cap
from stores.settings import BadSetting, Settings

SALT = "a secret of some length"


def query(policy: Policy = NO_POLICY, *, limit: int = 10, **filters: str | None) -> str:
    given = {name: filters.get(name) for name in ("channel", "category", "exclude")}
    return query_of(Question(user_id="u", limit=limit, filters=filters_of(**given)), digest_of(policy))


def test_the_same_question_has_one_name_however_it_is_written() -> None:
    assert query() == "10"
    assert query(exclude="c_2,c_1,c_2", channel=" email ") == query(channel="email", exclude="c_1,c_2")
    assert query(category="caf\u00e9") == query(category="cafe\u0301")


def test_different_questions_have_different_names() -> None:
    asked = [
        query(),
        query(limit=1),
        query(channel="a"),
        query(category="a"),
        query(exclude="a"),
        query(channel="a&category=a"),
        query(channel="a", category="a"),
        query(exclude="a,b"),
        query(Policy(overall_cap=Cap(impressions=0, period_hours=24))),
        query(Policy(overall_cap=Cap(impressions=0, period_hours=25))),
        query(Policy(holdout_share=0.1, holdout_salt=SALT)),
        query(Policy(holdout_share=0.2, holdout_salt=SALT)),
        query(Policy(holdout_share=0.1, holdout_salt=SALT + "!")),
    ]
    assert len(set(asked)) == len(asked)
    assert SALT not in "".join(asked)


def test_without_filters_nothing_is_left_out() -> None:
    assert filters_of(None, None, None) == NO_FILTERS
    assert filters_of("email", None, "c_1") == Filters(channel="email", exclude=("c_1",))


@pytest.mark.parametrize(("count", "taken"), [(1, True), (MOST_EXCLUDED, True), (MOST_EXCLUDED + 1, False)])
def test_so_many_campaigns_may_be_left_out(count: int, taken: bool) -> None:
    assert (re.match(EXCLUDED, ",".join(f"c_{n}" for n in range(count))) is not None) is taken


def test_settings_make_the_rules_for_all_campaigns() -> None:
    assert policy_of(Settings()) == NO_POLICY
    assert policy_of(Settings(holdout_salt=SALT)) == NO_POLICY  # a secret without a group is nobody's
    assert policy_of(Settings(overall_cap_impressions=0)).overall_cap == Cap(impressions=0, period_hours=24)
    assert policy_of(Settings(holdout_share=0.1, holdout_salt=SALT)) == Policy(holdout_share=0.1, holdout_salt=SALT)


@pytest.mark.parametrize("salt", ["", "fifteen chars.."])
def test_a_holdout_group_needs_a_secret(salt: str) -> None:
    with pytest.raises(BadSetting, match=r"^CAMPAIGNS_HOLDOUT_SALT: "):
        policy_of(Settings(holdout_share=0.01, holdout_salt=salt))


@pytest.mark.parametrize("given", [" ", "a\0b", "\u0958" * 128])
def test_a_filter_that_intake_would_not_keep_is_refused_and_never_passed_over(given: str) -> None:
    with pytest.raises(ValidationException) as refused:
        filters_of(None, given, None)
    assert isinstance(refused.value.extra, list)
    assert refused.value.extra[0]["key"] == "category"
