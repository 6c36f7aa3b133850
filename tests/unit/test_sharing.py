"""A list of the campaigns that share the most customers, mended, is the list that would be made from nothing."""

from hypothesis import given, strategies

from stores.sharing import mended, most_shared

NUMBERS = strategies.dictionaries(strategies.sampled_from("abcdefgh"), strategies.integers(0, 4))


@given(before=NUMBERS, now=NUMBERS, most=strategies.integers(1, 4))
def test_a_list_that_can_be_mended_equals_one_made_anew(before: dict[str, int], now: dict[str, int], most: int) -> None:
    found = mended(most_shared(before, most), now, most)
    assert found is None or list(found.items()) == list(most_shared(before | now, most).items())


def test_a_list_that_hides_nobody_can_always_be_mended() -> None:
    assert mended({"a": 2}, {"a": 0, "b": 1}, 2) == {"b": 1}


def test_what_falls_behind_the_end_of_a_full_list_cannot_be_told() -> None:
    assert mended({"a": 3, "b": 2}, {"a": 1}, 2) is None
    assert mended({"a": 3, "b": 2}, {"c": 4}, 2) == {"c": 4, "a": 3}
    assert mended({"a": 3, "b": 2}, {"c": 1}, 2) == {"a": 3, "b": 2}
