"""What is drawn from the past is always the same, and changes little when more comes."""

from platform_assets.learning import drawn, some_of
from ranking.cases import Case


def case(number: int) -> Case:
    return Case(case_id=f"u_{number} day {number}", user_id=f"u_{number}", at_ms=number, truth=frozenset({"c"}), ended_ms=number)


def test_draws_are_even_and_always_the_same() -> None:
    draws = [drawn(f"u_{number}") for number in range(2000)]
    assert draws == [drawn(f"u_{number}") for number in range(2000)]
    assert all(0 <= each < 1 for each in draws)
    assert 900 < sum(each < 0.5 for each in draws) < 1100


def test_some_cases_are_kept_in_their_order_and_mostly_again_when_there_are_more() -> None:
    cases = [case(number) for number in range(400)]
    kept, later = some_of(cases, 100), some_of([*cases, *(case(number) for number in range(400, 420))], 100)
    assert len(kept) == len(later) == 100
    assert [each.at_ms for each in kept] == sorted(each.at_ms for each in kept)
    assert len({each.case_id for each in kept} & {each.case_id for each in later}) > 85
    assert some_of(cases, 1000) == cases
