import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.engagement import WORDS_KEPT, words_spoken
from ranking.words import campaign_text, folded, terms_of, words_of
from stores.records import Campaign, Record, Tally


def said(text: str, at_ms: int = 0, **fields: str) -> Record:
    return Record(message_id=f"m{at_ms}", user_id="u", timestamp_ms=at_ms, message=text, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Cookies, dishes & BATTERIES!", ["cookie", "dish", "battery"]),
        ("I don't like the 2% milk's taste", ["milk", "taste"]),
        ("glasses boxes potatoes shoes cheeses pies", ["glass", "box", "potato", "shoe", "cheese", "pie"]),
        ("bus gas series this", ["bus", "gas", "series"]),
        ("übergrößen 茶 42", ["übergrößen", "茶", "42"]),
        ("", []),
    ],
)
def test_words_are_lower_case_with_plurals_folded_and_stop_words_left_out(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text(alphabet="abcehioswxyz", min_size=1, max_size=9))
def test_folding_takes_only_an_ending_away(word: str) -> None:
    assert folded(word)[: len(word) - 3] == word[: len(word) - 3]


def test_the_text_of_a_campaign_is_what_it_has_of_name_description_and_category() -> None:
    campaign = Campaign(campaign_id="c", name="Trail Days", category="outdoor")
    assert campaign_text(campaign) == "Trail Days. outdoor"


def test_a_word_counts_once_a_message_and_only_where_the_customer_speaks() -> None:
    records = [
        said("milk, milk and bread", 1),
        said("Milk!", 5),
        said("tea", 7, role="agent"),
        said("coffee", 8, event="click"),
    ]
    assert words_spoken(records) == {
        "milk": Tally(count=2, weight=0.0, last_at_ms=5),
        "bread": Tally(count=1, weight=0.0, last_at_ms=1),
        '"milk"': Tally(count=2, weight=0.0, last_at_ms=5),
        '"milk bread"': Tally(count=1, weight=0.0, last_at_ms=1),
    }


@given(st.lists(st.tuples(st.lists(st.integers(0, 1500), max_size=150), st.integers(0, 50)), max_size=20), st.randoms())
def test_the_words_most_used_are_kept_whatever_the_order_of_the_records(messages, random) -> None:
    records = [said(", ".join(f"w{n}" for n in numbers), at_ms) for numbers, at_ms in messages]
    kept = words_spoken(records)
    random.shuffle(records)
    assert list(words_spoken(records).items()) == list(kept.items())
    assert len(kept) == min(WORDS_KEPT, 2 * len({n for numbers, _ in messages for n in numbers}))  # each is a phrase as well
    standing = [(-tally.count, -tally.last_at_ms, word) for word, tally in kept.items()]
    assert standing == sorted(standing)


def test_a_word_by_itself_is_a_phrase_and_a_part_of_a_phrase_is_none() -> None:
    assert terms_of("Peanut butter, milk") == ["peanut", "butter", '"peanut butter"', "milk", '"milk"']
    assert terms_of("one two three four five six seven eight")[-1] == "eight"
